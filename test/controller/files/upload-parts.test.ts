import { evictDurableObject, listDurableObjectIds, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { PART_SHA256_HEADER, UPLOAD_PART_BYTES, type Upload } from '#contract';
import { type BlobUpload, UPLOAD_IDLE_MS } from '../../../controller/files/blob-upload.ts';
import { openBlob, storeBlob } from '../../../controller/files/blobs.ts';
import { blobHolds, blobs } from '../../../controller/schema/index.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { call, db, errorOf, insertWorker, sha256Of, submitKey } from '../factories/rows.ts';
import { until } from '../factories/scenarios.ts';

const MIB = 1024 * 1024;
const BLOCK_BYTES = 65_536;

/** Bytes that no other test has, of any length. */
function content(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const block = crypto.getRandomValues(new Uint8Array(Math.min(size, BLOCK_BYTES)));
  for (let at = 0; at < size; at += BLOCK_BYTES) {
    bytes.set(block.subarray(0, size - at), at);
    // No two blocks are the same, so that parts in the wrong order are another file.
    if (at > 0) bytes.set([...String(at)].map(Number).slice(0, size - at), at);
  }
  return bytes;
}
const partOf = (bytes: Uint8Array<ArrayBuffer>, part: number) =>
  bytes.slice((part - 1) * UPLOAD_PART_BYTES, part * UPLOAD_PART_BYTES);

async function anUpload(size: number, key?: string, announced?: { sha256?: string; size?: number }) {
  const writer = key ?? (await submitKey());
  const bytes = content(size);
  const sha256 = announced?.sha256 ?? (await sha256Of(bytes));
  const path = `/api/blobs/${sha256}/uploads`;
  const begun = await call(path, writer, json({ size: announced?.size ?? size }));
  const upload = await begun.json<Upload>();
  const at = `${path}/${upload.id}`;
  const send = async (part: number, body = partOf(bytes, part), headers: Record<string, string> = {}) =>
    call(`${at}/parts/${part}`, writer, {
      method: 'PUT',
      body,
      headers: { 'Content-Length': String(body.byteLength), [PART_SHA256_HEADER]: await sha256Of(body), ...headers },
    });
  const show = () => call(at, writer);
  const complete = () => call(`${at}/complete`, writer, { method: 'POST' });
  const stub = env.UPLOADS.getByName(upload.id ?? '');
  return { key: writer, bytes, sha256, path, begun, upload, at, send, show, complete, stub };
}
const json = (body: unknown): RequestInit => ({
  method: 'POST',
  body: JSON.stringify(body),
  headers: { 'Content-Type': 'application/json' },
});
const untilAnswered = (show: () => Promise<Response>) =>
  until('the upload is verified', async () => {
    const response = await show();
    if (response.status !== 202) return response;
    await response.arrayBuffer();
    return false;
  });
const rowOf = (sha256: string) => db.select().from(blobs).where(eq(blobs.sha256, sha256)).get();
const objectsOf = async (sha256: string) =>
  (await env.BLOBS.list({ prefix: `blobs/${sha256}/` })).objects.map(({ key }) => key);

test('a file in parts is visible once it has been read back, and not before', async () => {
  const size = UPLOAD_PART_BYTES + MIB + 1;
  const one = await anUpload(size);
  expect([one.begun.status, one.upload]).toEqual([
    201,
    { ...one.upload, size, state: 'open', parts: [], partBytes: UPLOAD_PART_BYTES, verifiedBytes: 0 },
  ]);
  for (const part of [2, 1]) expect((await one.send(part)).status).toBe(200);
  expect(await rowOf(one.sha256)).toBeUndefined();
  const accepted = await one.complete();
  expect([accepted.status, (await accepted.json<Upload>()).state]).toEqual([202, 'verifying']);
  const done = await untilAnswered(one.show);
  expect([done.status, (await done.json<Upload>()).state]).toEqual([200, 'stored']);
  const object = (await openBlob(env, one.sha256))!;
  expect([object.size, await sha256Of(new Uint8Array(await object.arrayBuffer()))]).toEqual([size, one.sha256]);
  expect(await objectsOf(one.sha256)).toEqual([(await rowOf(one.sha256))!.r2Key]);
});

test('completing it again, before and after, answers the same', async () => {
  const one = await anUpload(MIB);
  await one.send(1);
  expect((await one.complete()).ok && (await one.complete()).ok).toBe(true);
  await untilAnswered(one.show);
  const again = await one.complete();
  expect([again.status, (await again.json<Upload>()).state]).toEqual([200, 'stored']);
});

test('a sender that comes back learns which parts it need not send again', async () => {
  const one = await anUpload(UPLOAD_PART_BYTES + 7);
  await one.send(2);
  expect((await (await one.show()).json<Upload>()).parts).toEqual([2]);
  expect(await errorOf(await one.complete())).toEqual([409, 'upload_incomplete']);
  await one.send(1);
  expect((await one.send(1)).status).toBe(200);
  await one.complete();
  expect((await untilAnswered(one.show)).status).toBe(200);
});

test('a part that was damaged on the way is refused, and can be sent again', async () => {
  const one = await anUpload(1_000);
  const damaged = one.bytes.slice();
  damaged[5]! ^= 1;
  const headers = { [PART_SHA256_HEADER]: await sha256Of(one.bytes) };
  expect(await errorOf(await one.send(1, damaged, headers))).toEqual([422, 'hash_mismatch']);
  expect((await (await one.show()).json<Upload>()).parts).toEqual([]);
  expect((await one.send(1)).status).toBe(200);
  await one.complete();
  expect((await untilAnswered(one.show)).status).toBe(200);
});

test('a part of the wrong length, number or without its digest is refused by name', async () => {
  const one = await anUpload(UPLOAD_PART_BYTES + 7);
  expect(await errorOf(await one.send(2, one.bytes.slice(0, 8)))).toEqual([400, 'invalid_request']);
  expect(await errorOf(await one.send(3, one.bytes.slice(0, 7)))).toEqual([400, 'invalid_request']);
  const without = await one.send(2, partOf(one.bytes, 2), { [PART_SHA256_HEADER]: 'x' });
  expect([without.status, await without.text()]).toEqual([400, expect.stringContaining(PART_SHA256_HEADER)]);
  const zero = await call(`${one.at}/parts/0`, one.key, { method: 'PUT', body: '' });
  expect(await errorOf(zero)).toEqual([400, 'invalid_request']);
});

test('parts that together are something else are refused and leave nothing', async () => {
  const one = await anUpload(1_000, undefined, { sha256: await sha256Of(content(1_000)) });
  await one.send(1);
  await one.complete();
  expect(await errorOf(await untilAnswered(one.show))).toEqual([422, 'hash_mismatch']);
  expect(await errorOf(await one.complete())).toEqual([422, 'hash_mismatch']);
  expect([await rowOf(one.sha256), await objectsOf(one.sha256)]).toEqual([undefined, []]);
});

test('what is stored already needs no upload, and is spared from collection', async () => {
  const one = await anUpload(1_000);
  await storeBlob(env, 'prj_default', one.sha256, 1_000, new Blob([one.bytes]).stream(), 1);
  const again = await call(`${one.path}?project=default`, one.key, json({ size: 1_000 }));
  expect([again.status, await again.json<Upload>()]).toMatchObject([200, { id: null, state: 'stored' }]);
  const holds = await db.select().from(blobHolds).where(eq(blobHolds.sha256, one.sha256));
  expect(holds.map(({ touchedAt }) => touchedAt > 1)).toEqual([true]);
});

test('of uploads of the same content at once one object stays', async () => {
  const key = await submitKey();
  const first = await anUpload(1_000, key);
  const second = await call(first.path, key, json({ size: 1_000 })).then((answer) => answer.json<Upload>());
  const at = `${first.path}/${second.id}`;
  await first.send(1);
  await call(`${at}/parts/1`, key, {
    method: 'PUT',
    body: first.bytes,
    headers: { 'Content-Length': '1000', [PART_SHA256_HEADER]: first.sha256 },
  });
  await Promise.all([first.complete(), call(`${at}/complete`, key, { method: 'POST' })]);
  for (const show of [first.show, () => call(at, key)]) expect((await untilAnswered(show)).status).toBe(200);
  await drainOutbox(env, Date.now(), { limit: 500 });
  expect(await objectsOf(first.sha256)).toEqual([(await rowOf(first.sha256))!.r2Key]);
});

test('an eviction in the middle of verifying begins the digest again', async () => {
  const one = await anUpload(2 * UPLOAD_PART_BYTES + MIB);
  for (const part of [1, 2, 3]) await one.send(part);
  await one.complete();
  await until('a slice has been read', async () => {
    const { state, verifiedBytes } = await (await one.show()).json<Upload>();
    return verifiedBytes > 0 || state === 'stored';
  });
  await evictDurableObject(one.stub);
  const done = await untilAnswered(one.show);
  expect((await done.json<Upload>()).state).toBe('stored');
});

test('an alarm that the platform has lost is booked again by whoever asks', async () => {
  const one = await anUpload(1_000);
  await one.send(1);
  await runInDurableObject(one.stub, async (_, { storage }) => {
    storage.kv.put('upload', { ...(storage.kv.get('upload') as object), state: 'completing' });
    await storage.deleteAlarm();
  });
  expect((await untilAnswered(one.show)).status).toBe(200);
});

test('an alarm that should have run long ago is lost too', async () => {
  const one = await anUpload(1_000);
  await one.send(1);
  await runInDurableObject(one.stub, async (object: BlobUpload, { storage }) => {
    const record = storage.kv.get<{ holder: string; sha256: string }>('upload')!;
    storage.kv.put('upload', { ...record, state: 'completing' });
    await storage.deleteAlarm();
    Object.defineProperty(storage, 'getAlarm', { value: async () => Date.now() - 6 * 3_600_000, configurable: true });
    await object.show(record.holder, record.sha256, Date.now());
    Reflect.deleteProperty(storage, 'getAlarm');
  });
  await until('it has been verified', async () => {
    const state = await runInDurableObject(one.stub, (_, { storage }) => storage.kv.get<{ state: string }>('upload'));
    return state?.state === 'stored';
  });
});

test('an upload that was abandoned is taken away, parts and all', async () => {
  const one = await anUpload(1_000);
  await one.send(1);
  const inR2 = await runInDurableObject(one.stub, (_, { storage }) => {
    const record = storage.kv.get('upload') as { touchedAt: number; r2Key: string; r2UploadId: string };
    storage.kv.put('upload', { ...record, touchedAt: Date.now() - UPLOAD_IDLE_MS });
    return record;
  });
  expect(await runDurableObjectAlarm(one.stub)).toBe(true);
  expect(await errorOf(await one.show())).toEqual([404, 'not_found']);
  expect(await errorOf(await one.send(1))).toEqual([404, 'not_found']);
  await runInDurableObject(one.stub, async (_, { storage }) => expect((await storage.list()).size).toBe(0));
  const left = env.BLOBS.resumeMultipartUpload(inR2.r2Key, inR2.r2UploadId);
  await expect(left.uploadPart(2, 'x')).rejects.toThrow('10024');
});

test('an upload may be given up by its sender', async () => {
  const one = await anUpload(1_000);
  expect((await call(one.at, one.key, { method: 'DELETE' })).status).toBe(204);
  expect(await errorOf(await one.send(1))).toEqual([404, 'not_found']);
});

test('a slice that the platform stops again and again ends in a refusal that names the plan', async () => {
  const one = await anUpload(1_000);
  await one.send(1);
  await runInDurableObject(one.stub, async (_, { storage }) => {
    storage.kv.put('upload', { ...(storage.kv.get('upload') as object), state: 'verifying', tries: 5 });
    await storage.setAlarm(Date.now());
  });
  const refused = await untilAnswered(one.show);
  expect([refused.status, await refused.text()]).toEqual([413, expect.stringContaining('95 MiB')]);
});

test('an upload that was made visible though nobody heard of it is stored, and keeps its object', async () => {
  const one = await anUpload(1_000);
  await one.send(1);
  await one.complete();
  await untilAnswered(one.show);
  const { r2Key } = (await rowOf(one.sha256))!;
  await runInDurableObject(one.stub, async (_, { storage }) => {
    storage.kv.put('upload', { ...(storage.kv.get('upload') as object), state: 'verifying', tries: 5, failures: 0 });
    await storage.setAlarm(Date.now());
  });
  const done = await untilAnswered(one.show);
  expect([done.status, (await done.json<Upload>()).state]).toEqual([200, 'stored']);
  expect([await objectsOf(one.sha256), (await rowOf(one.sha256))!.r2Key]).toEqual([[r2Key], r2Key]);
});

test('steps that fail with an error are tried for longer than those that are stopped, and not for ever', async () => {
  for (const [failures, outcome] of [
    [9, 200],
    [16, 409],
  ]) {
    const one = await anUpload(1_000);
    await one.send(1);
    await runInDurableObject(one.stub, async (_, { storage }) => {
      const record = storage.kv.get('upload') as object;
      storage.kv.put('upload', { ...record, state: 'completing', tries: failures, failures });
      await storage.setAlarm(Date.now());
    });
    expect((await untilAnswered(one.show)).status).toBe(outcome);
    expect(await objectsOf(one.sha256)).toHaveLength(outcome === 200 ? 1 : 0);
  }
});

test('a wrong size is refused at its last part, and a file that is shorter than announced never completes', async () => {
  const one = await anUpload(UPLOAD_PART_BYTES + 100, undefined, { size: UPLOAD_PART_BYTES + 200 });
  expect((await one.send(1)).status).toBe(200);
  expect(await errorOf(await one.send(2))).toEqual([400, 'invalid_request']);
  expect(await errorOf(await one.complete())).toEqual([409, 'upload_incomplete']);
  expect((await call(one.at, one.key, { method: 'DELETE' })).status).toBe(204);
  expect([await rowOf(one.sha256), await objectsOf(one.sha256)]).toEqual([undefined, []]);
});

test('uploads are for those who may write blobs, and each for its own content', async () => {
  const one = await anUpload(1_000, (await insertWorker()).key);
  expect(one.begun.status).toBe(201);
  expect((await call(one.path, null, json({ size: 5 }))).status).toBe(401);
  const other = await sha256Of(content(5));
  expect(await errorOf(await call(`/api/blobs/${other}/uploads/${one.upload.id}`, one.key))).toEqual([
    404,
    'not_found',
  ]);
  for (const size of [0, -1, 1.5, 'x', 10 ** 15])
    expect(await errorOf(await call(one.path, one.key, json({ size })))).toEqual([400, 'invalid_request']);
});

test('asking for an upload that never was makes none', async () => {
  const before = (await listDurableObjectIds(env.UPLOADS)).length;
  const { key, sha256 } = await anUpload(10);
  expect(await errorOf(await call(`/api/blobs/${sha256}/uploads/u_none`, key))).toEqual([404, 'not_found']);
  expect((await listDurableObjectIds(env.UPLOADS)).length).toBeLessThanOrEqual(before + 2);
});
