import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { BLOB_MAX_BYTES } from '#contract';
import { openBlob, storeBlob } from '../../../controller/files/blobs.ts';
import { touchHold } from '../../../controller/files/holds.ts';
import { blobHolds, blobs } from '../../../controller/schema/index.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { bytesOf, call, db, errorOf, insertWorker, sha256Of, submitKey, unique } from '../factories/rows.ts';

/** Content that no other test has. */
async function content(text = unique('content')) {
  const bytes = bytesOf(text);
  return { bytes, sha256: await sha256Of(bytes), size: bytes.byteLength };
}
const put = (sha256: string, key: string | null, body: BodyInit | null, headers: Record<string, string> = {}) =>
  call(`/api/blobs/${sha256}`, key, { method: 'PUT', body, headers });
const sized = (size: number) => ({ 'Content-Length': String(size) });

const HOLDER = 'prj_default';

const holdsOf = (sha256: string) => db.select().from(blobHolds).where(eq(blobHolds.sha256, sha256));
const rowOf = (sha256: string) => db.select().from(blobs).where(eq(blobs.sha256, sha256)).get();
const objectsOf = async (sha256: string) =>
  (await env.BLOBS.list({ prefix: `blobs/${sha256}/` })).objects.map((object) => object.key);

test('an upload is stored once, and answers the same when it is repeated', async () => {
  const key = await submitKey();
  const { bytes, sha256, size } = await content();
  const first = await put(sha256, key, bytes, sized(size));
  expect([first.status, await first.json()]).toEqual([201, { sha256, size, existed: false }]);
  await db.update(blobHolds).set({ touchedAt: 1 }).where(eq(blobHolds.sha256, sha256));
  const second = await put(sha256, key, bytes, sized(size));
  expect([second.status, await second.json()]).toEqual([200, { sha256, size, existed: true }]);
  expect(await objectsOf(sha256)).toHaveLength(1);
  expect((await holdsOf(sha256)).map(({ touchedAt }) => touchedAt > 1)).toEqual([true]);
  expect(await (await openBlob(env, sha256))!.bytes()).toEqual(bytes);
});

test('workers upload too, nobody else does', async () => {
  const { key } = await insertWorker();
  const { bytes, sha256, size } = await content();
  expect((await put(sha256, null, bytes, sized(size))).status).toBe(401);
  expect((await put(sha256, key, bytes, sized(size))).status).toBe(201);
});

test('a body with another digest is refused and leaves nothing', async () => {
  const key = await submitKey();
  const { sha256 } = await content();
  const { bytes, size } = await content();
  expect(await errorOf(await put(sha256, key, bytes, sized(size)))).toEqual([422, 'hash_mismatch']);
  expect(await objectsOf(sha256)).toEqual([]);
  expect(await rowOf(sha256)).toBeUndefined();
});

test('a body that ends early or late leaves nothing', async () => {
  const { bytes, sha256, size } = await content();
  for (const wrong of [size - 1, size + 1])
    await expect(storeBlob(env, HOLDER, sha256, wrong, new Blob([bytes]).stream(), 1)).rejects.toThrow();
  expect(await objectsOf(sha256)).toEqual([]);
  expect(await rowOf(sha256)).toBeUndefined();
});

test('an upload without a length or above the limit is refused before it is read', async () => {
  const key = await submitKey();
  const { sha256 } = await content();
  const endless = () =>
    new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(1024)) }, { highWaterMark: 0 });
  for (const headers of [undefined, { 'Content-Length': 'x' }, { 'Content-Length': '-1' }])
    expect(await errorOf(await put(sha256, key, endless(), headers))).toEqual([400, 'invalid_request']);
  const large = await put(sha256, key, endless(), sized(BLOB_MAX_BYTES + 1));
  expect(large.status).toBe(413);
  expect(await large.text()).toContain(String(BLOB_MAX_BYTES));
});

test('a path that is no SHA-256 is refused by name', async () => {
  const answer = await put('ABC', await submitKey(), 'x', sized(1));
  expect(answer.status).toBe(400);
  expect(await answer.text()).toContain('sha256: must be 64 lower-case hex digits');
});

test('an empty file is a file', async () => {
  const { sha256 } = await content('');
  const stored = await put(sha256, await submitKey(), null, sized(0));
  expect([stored.status, await stored.json()]).toEqual([201, { sha256, size: 0, existed: false }]);
  expect(await (await openBlob(env, sha256))!.text()).toBe('');
});

test('of many uploads at once one object stays, and it is the one that the row names', async () => {
  const { bytes, sha256, size } = await content();
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => storeBlob(env, HOLDER, sha256, size, new Blob([bytes]).stream(), 1)),
  );
  expect(answers.filter((answer) => answer.ok && !answer.existed)).toHaveLength(1);
  await drainOutbox(env, Date.now(), { limit: 500 });
  expect(await objectsOf(sha256)).toEqual([(await rowOf(sha256))!.r2Key]);
});

test('HEAD says whether an upload can be spared, and spares the blob from collection', async () => {
  const key = await submitKey();
  const { bytes, sha256, size } = await content();
  const head = () => call(`/api/blobs/${sha256}?project=${HOLDER}`, key, { method: 'HEAD' });
  expect((await head()).status).toBe(404);
  await storeBlob(env, HOLDER, sha256, size, new Blob([bytes]).stream(), 1);
  expect((await head()).status).toBe(200);
  expect((await holdsOf(sha256)).map(({ touchedAt }) => touchedAt > 1)).toEqual([true]);
  expect(await touchHold(env, HOLDER, sha256, 9)).toEqual({ sha256, size, existed: true });
});

test('what was never stored cannot be opened', async () => {
  expect(await openBlob(env, (await content()).sha256)).toBeNull();
});
