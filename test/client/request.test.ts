import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AttemptClient } from '../../client/attempt-client.ts';
import { putBlob } from '../../client/blob-requests.ts';
import { Connection } from '../../client/request.ts';
import { untilAnswered } from '../../client/retry.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';

async function serverThat(handle: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  return {
    url,
    client: clientOf(url),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const clientOf = (url: string, limits: { requestMs?: number; transferStallMs?: number } = {}) =>
  new Connection({ url, key: 'tb_worker_test', requestMs: 60_000, transferStallMs: 60_000, ...limits });
const sends = (status: number, body: string, headers: Record<string, string> = {}) =>
  serverThat((request, response) => {
    request.resume();
    response.writeHead(status, headers).end(body);
  });
const OWN_ERROR = JSON.stringify({ error: { code: 'attempt_ended', message: 'over' }, action: 'stop' });
const beat = (connection: Connection) =>
  new AttemptClient(connection).heartbeat('b', 'w', { source: 'agent', attempt: 1 });

test('an answer that fits the contract is a value', async () => {
  const timestamp = new Date().toISOString();
  const body = { status: 'ok', timestamp, action: 'continue', nextMs: 4_000, vmBeatAt: null, fromTheFuture: 1 };
  await using server = await sends(200, JSON.stringify(body));
  expect(await beat(server.client)).toMatchObject({ ok: true, value: { nextMs: 4_000, vmBeatAt: null } });
});

test('the key and the version of the contract go with each call, and ids are escaped', async () => {
  const seen: IncomingMessage[] = [];
  await using server = await serverThat((request, response) => {
    seen.push(request);
    response.end('{}');
  });
  await new AttemptClient(server.client).heartbeat('a/../b', 'w?x=1', {});
  expect(seen[0]!.headers).toMatchObject({ authorization: 'Bearer tb_worker_test', 'x-tartbeat-contract': '1' });
  expect(seen[0]!.url).toBe('/api/builds/a%2F..%2Fb/heartbeat?worker_id=w%3Fx%3D1');
});

test.each([429, 503, 530])(
  'a platform over its quota is an outage with a name, whatever its status is: %i',
  async (status) => {
    await using server = await sends(status, 'error code: 1027', { 'content-type': 'text/plain' });
    expect(await beat(server.client)).toEqual({
      ok: false,
      kind: 'unreachable',
      outage: true,
      message: expect.stringContaining('midnight UTC'),
    });
    await using page = await sends(status, '<title>Error 1027</title> This website has been temporarily rate limited');
    expect(await beat(page.client)).toMatchObject({ outage: true });
  },
);

test('other errors of the platform are named, and are no outage of all', async () => {
  await using server = await sends(503, 'error code: 1102');
  const answer = await beat(server.client);
  expect(answer).toMatchObject({ kind: 'unreachable', message: expect.stringContaining('CPU time') });
  expect(answer).not.toHaveProperty('outage');
});

test('a 413 is a refusal, whoever on the way says it', async () => {
  await using server = await sends(413, '<html>413 Request Entity Too Large</html>');
  expect(await beat(server.client)).toMatchObject({ kind: 'refused', status: 413, code: 'too_large' });
});

test("a 4xx in the controller's own words is a refusal", async () => {
  await using server = await sends(410, OWN_ERROR);
  expect(await beat(server.client)).toEqual({
    ok: false,
    kind: 'refused',
    status: 410,
    code: 'attempt_ended',
    message: 'over',
    action: 'stop',
    expectedOffset: undefined,
  });
});

test('a gap in the log names the offset to go on from', async () => {
  const body = { error: { code: 'wrong_offset', message: 'gap' }, expectedOffset: 17 };
  await using server = await sends(416, JSON.stringify(body));
  const answer = await new AttemptClient(server.client).appendLog('b', {
    attempt: 1,
    offset: 40,
    bytes: new Uint8Array(3),
  });
  expect(answer).toMatchObject({ kind: 'refused', code: 'wrong_offset', expectedOffset: 17 });
});

const NOT_THE_CONTROLLER: [string, number, string, Record<string, string>?][] = [
  ['a 500', 500, OWN_ERROR],
  ['a 502 with HTML', 502, '<html>bad gateway</html>'],
  ["a captive portal's 403", 403, '<html>log in</html>'],
  ["a captive portal's redirect", 302, '', { location: 'http://127.0.0.1:1/login' }],
  ['a 200 with HTML', 200, '<html>welcome</html>'],
  ['a 200 with nothing', 200, ''],
  ['a 200 with half an answer', 200, '{"status":"ok","timest'],
  ['a 200 with another JSON', 200, '{"status":"fine"}'],
  ['a 404 of a proxy, in JSON', 404, '{"error":"no such route"}'],
];
for (const [what, status, body, headers] of NOT_THE_CONTROLLER)
  test(`${what} is unreachable, not a refusal`, async () => {
    await using server = await sends(status, body, headers);
    expect(await beat(server.client)).toMatchObject({ ok: false, kind: 'unreachable' });
  });

test('an answer without end is cut off', async () => {
  await using server = await serverThat((request, response) => {
    request.resume();
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
      if (!response.destroyed) response.once('drain', more);
    };
    more();
  });
  expect(await beat(server.client)).toMatchObject({ kind: 'unreachable', message: 'the answer is too long' });
});

test('a connection that breaks in mid-answer is unreachable', async () => {
  await using server = await serverThat((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-length': '100' }).write('{"status"');
    setImmediate(() => response.destroy());
  });
  expect(await beat(server.client)).toMatchObject({ kind: 'unreachable' });
});

test('nobody listening is unreachable', async () => {
  const server = await sends(200, '');
  await server[Symbol.asyncDispose]();
  expect(await beat(server.client)).toMatchObject({ kind: 'unreachable', message: 'ECONNREFUSED' });
});

test('silence is unreachable after the time limit', async () => {
  await using server = await serverThat(() => {});
  const answer = await new WorkerClient(clientOf(server.url, { requestMs: 100 })).me();
  expect(answer).toEqual({ ok: false, kind: 'unreachable', message: 'no answer in time' });
});

test("the caller's signal rejects with its own reason", async () => {
  await using server = await serverThat(() => {});
  const controller = new AbortController();
  const asked = new WorkerClient(server.client).me(controller.signal);
  controller.abort(new Error('mine'));
  await expect(asked).rejects.toThrow('mine');
});

test('429 is tried again, not before the time that it names', async () => {
  await using server = await sends(429, OWN_ERROR, { 'retry-after': '3' });
  expect(await beat(server.client)).toMatchObject({ kind: 'unreachable', retryAfterMs: 3_000 });
});

test('retrying ends with the first answer, and with the last failure when its time is up', async () => {
  let calls = 0;
  await using server = await serverThat((request, response) => {
    request.resume();
    if (++calls < 3) response.writeHead(500).end();
    else response.end(JSON.stringify({ scope: 'worker', name: 'n', workerId: 'w' }));
  });
  const { signal } = new AbortController();
  const quick = { signal, firstDelayMs: 1, maxDelayMs: 2 };
  expect(
    await untilAnswered(() => new WorkerClient(server.client).me(), { ...quick, giveUpAfterMs: 20_000 }),
  ).toMatchObject({
    ok: true,
  });
  await using broken = await sends(500, '');
  expect(
    await untilAnswered(() => new WorkerClient(broken.client).me(), { ...quick, giveUpAfterMs: 30 }),
  ).toMatchObject({
    kind: 'unreachable',
  });
});

test('an upload streams the file with its exact length', async () => {
  using dir = temporaryDir();
  const bytes = randomBytes(3_000_000);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const path = join(dir.path, 'blob');
  writeFileSync(path, bytes);
  const got = createHash('sha256');
  let length = '';
  await using server = await serverThat((request, response) => {
    length = request.headers['content-length']!;
    request
      .on('data', (chunk) => got.update(chunk))
      .on('end', () => response.end(JSON.stringify({ sha256, size: 3_000_000, existed: false })));
  });
  expect(await putBlob(server.client, { sha256, path, sizeBytes: bytes.length })).toMatchObject({ ok: true });
  expect(length).toBe('3000000');
  expect(got.digest('hex')).toBe(sha256);
});

test('an upload that stands still is unreachable', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'blob');
  writeFileSync(path, 'x');
  await using server = await serverThat(() => {});
  const client = clientOf(server.url, { transferStallMs: 100 });
  expect(await putBlob(client, { sha256: 'a'.repeat(64), path, sizeBytes: 1 })).toMatchObject({ kind: 'unreachable' });
});

test('a source arrives whole and right, or not at all', async () => {
  using dir = temporaryDir();
  const bytes = randomBytes(200_000);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const target = { path: join(dir.path, 'source'), sha256, sizeBytes: bytes.length };
  let body: Buffer = bytes;
  await using server = await serverThat((_request, response) => void response.end(body));
  expect(await new AttemptClient(server.client).downloadSource('b', target)).toMatchObject({ ok: true });
  expect(readFileSync(target.path).equals(bytes)).toBe(true);
  for (body of [bytes.subarray(1), Buffer.concat([bytes, bytes]), randomBytes(200_000)])
    expect(await new AttemptClient(server.client).downloadSource('b', target)).toMatchObject({ kind: 'unreachable' });
});
