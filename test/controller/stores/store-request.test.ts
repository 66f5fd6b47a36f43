import { expect, inject, test } from 'vitest';
import { STORE_WORDS_MAX } from '#contract';
import {
  askStore,
  ForeignAddress,
  StoreUnreachable,
  uploadAddress,
  words,
} from '../../../controller/stores/store-request.ts';
import { countingSubrequests, TooManySubrequests } from '../../../controller/subrequests.ts';

const odd = inject('oddServer');
const signal = new AbortController().signal;
const get = (path: string, limitMs?: number) =>
  askStore({ method: 'GET', url: `${odd}${path}`, signal, ...(limitMs && { limitMs }) });

test('an answer has its status, its text, and its JSON if it is JSON', async () => {
  expect(await get('/json')).toMatchObject({ status: 200, text: '{"a":1}', json: { a: 1 } });
  expect(await get('/text')).toMatchObject({ status: 200, text: 'no JSON', json: undefined });
  expect(await get('/empty')).toMatchObject({ status: 204, text: '', json: undefined });
  const busy = await get('/busy');
  expect(busy).toMatchObject({ status: 503, text: 'busy' });
  expect(busy.headers.get('Retry-After')).toBe('7');
});

test('nobody follows a redirect', async () => {
  expect(await get('/redirect')).toMatchObject({ status: 302 });
  expect((await get('/redirects')).text).toBe('0');
});

test('a long answer is read to its limit, and is no JSON', async () => {
  const { text, json } = await get('/long');
  expect(text.length).toBeLessThanOrEqual(256 * 1024);
  expect(json).toBeUndefined();
});

test.for([
  ['/cut', undefined, 'could not be reached'],
  ['/half', undefined, 'could not be reached'],
  ['/silent', 50, 'did not answer in time'],
] as const)('%s is no answer, and what is thrown names no path', async ([path, limitMs, says]) => {
  const error = await get(path, limitMs).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StoreUnreachable);
  expect(String(error)).toContain(says);
  expect(String(error)).not.toContain(path);
});

test('one request more than an invocation may make is no failure of the store', async () => {
  const asked = countingSubrequests(async () => [await get('/json'), await get('/json')], 1);
  await expect(asked).rejects.toThrow(TooManySubrequests);
});

test('the step can stop its request', async () => {
  const step = new AbortController();
  const asked = askStore({ method: 'GET', url: `${odd}/silent`, signal: step.signal });
  step.abort();
  await expect(asked).rejects.toThrow(StoreUnreachable);
});

const CHUNK_BYTES = 64 * 1024;

function streamed(chunks: number): ReadableStream<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const write = async () => {
    for (let chunk = 0; chunk < chunks; chunk++) await writer.write(new Uint8Array(CHUNK_BYTES).fill(chunk));
    await writer.close();
  };
  write().catch(() => {});
  return readable;
}

test('bytes are streamed with their length', async () => {
  const chunks = 40;
  const all = new Uint8Array(chunks * CHUNK_BYTES).map((_, index) => Math.floor(index / CHUNK_BYTES));
  const body = { stream: streamed(chunks), length: all.length };
  const { json } = await askStore({ method: 'PUT', url: `${odd}/bytes`, signal, body });
  const sha256 = new Uint8Array(await crypto.subtle.digest('SHA-256', all)).toHex();
  expect(json).toEqual({ length: String(all.length), sha256 });
});

test('a store that refuses before it has read all bytes has answered', async () => {
  const body = { stream: streamed(1_000), length: 1_000 * CHUNK_BYTES };
  const answer = await askStore({ method: 'PUT', url: `${odd}/busy`, signal, body }).catch((error) => error);
  // Node closes the connection. Either the answer or the end of the connection is seen first.
  if (!(answer instanceof StoreUnreachable)) expect(answer.status).toBe(503);
});

test('fewer bytes than were said are no whole request', async () => {
  const body = { stream: streamed(2), length: 3 * CHUNK_BYTES };
  await expect(askStore({ method: 'PUT', url: `${odd}/bytes`, signal, body })).rejects.toThrow(StoreUnreachable);
});

test.for([
  ['https://apple.com/x?y=1', true],
  ['https://a.b.apple.com/x', true],
  ['https://A.Apple.COM/x', true],
  ['http://a.apple.com/x', false],
  ['https://apple.com.evil.example/x', false],
  ['https://evilapple.com/x', false],
  ['https://apple.com@evil.example/x', false],
  ['https://user@apple.com/x', false],
  ['https://:password@apple.com/x', false],
  ['https://apple.com:8443/x', false],
  ['https://apple.com./x', false],
  ['https://127.0.0.1/x', false],
  ['https://[::ffff:127.0.0.1]/x', false],
  ['https://[::1]/x', false],
  ['//apple.com/x', false],
  ['file://apple.com/x', false],
  ['', false],
] as const)('%s as an address for bytes of Apple: %s', ([url, taken]) => {
  const isTaken = () => uploadAddress(url, ['apple.com'], false) instanceof URL;
  if (taken) expect(isTaken()).toBe(true);
  else expect(isTaken).toThrow(ForeignAddress);
});

test('a test may use http and ports, at the hosts that it names', () => {
  expect(uploadAddress('http://127.0.0.1:8080/x', ['127.0.0.1'], true).port).toBe('8080');
  for (const url of ['http://localhost:8080/x', 'ftp://127.0.0.1/x'])
    expect(() => uploadAddress(url, ['127.0.0.1'], true)).toThrow(ForeignAddress);
  const secret = 'https://user:word@evil.example/x?Signature=abc';
  expect(() => uploadAddress(secret, ['apple.com'], false)).toThrow(
    /^The store names https:\/\/evil\.example for the bytes\. They go to apple\.com alone, over https\.$/,
  );
});

test.for([
  ['JWT eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl was refused', 'JWT … was refused'],
  ['Authorization: Bearer abc.def', 'Authorization: Bearer …'],
  ['token ya29.a0AfH6SMBx-y_z expired', 'token … expired'],
  ['PUT https://h.apple.com/a/b?uploadId=1&Signature=abc failed', 'PUT https://h.apple.com/a/b?… failed'],
  [`"upload_id=${'aB3_'.repeat(10)}"`, '"upload_id=…"'],
  [`hash ${'0a1b2c3d'.repeat(8)} differs`, 'hash … differs'],
  ['-----BEGIN PRIVATE KEY-----\nMIGT\n-----END PRIVATE KEY----- it said', '… it said'],
  ['a\u0000\u001b[31mb\n\n  c', 'a [31mb c'],
  // Texts that tell a person something stay.
  [
    "The bundle version must be higher than the previously uploaded version: '41'. (ID: 6d1f30b1-7b3e-4c61-a6b0-0d5e4ab1b2c3)",
    "The bundle version must be higher than the previously uploaded version: '41'. (ID: 6d1f30b1-7b3e-4c61-a6b0-0d5e4ab1b2c3)",
  ],
  ['ENTITY_ERROR.ATTRIBUTE.INVALID.DUPLICATE', 'ENTITY_ERROR.ATTRIBUTE.INVALID.DUPLICATE'],
  ['NSLocationAlwaysAndWhenInUseUsageDescription', 'NSLocationAlwaysAndWhenInUseUsageDescription'],
] as const)('%j is shown as %j', ([said, shown]) => {
  expect(words(said)).toBe(shown);
});

test('words are bounded', () => {
  expect(words('word '.repeat(STORE_WORDS_MAX)).length).toBeLessThanOrEqual(STORE_WORDS_MAX);
});
