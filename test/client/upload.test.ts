/** Tests the agent's uploads against a real controller, with faults between them. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { UPLOAD_PART_BYTES } from '#contract';
import { AdminClient } from '../../client/admin-client.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { findBlob } from '../../client/blob-requests.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { Connection } from '../../client/request.ts';
import { type BlobUploadOptions, uploadBlob } from '../../client/upload.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { sharedController } from '../set-up/controller/shared.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { type Fault, faultyProxy } from '../worker-agent/servers/faulty-proxy.ts';

let controller: Awaited<ReturnType<typeof sharedController>>;
beforeAll(async () => {
  controller = await sharedController();
});

const SIZE = UPLOAD_PART_BYTES + 1_025;

/** Enough for tests of a whole upload, because each 16 MiB that are sent cost seconds of CPU time. */
const ONE_SMALL_PART = 2_000;

/** A file of two parts that nobody has sent before, and a sender behind a proxy. */
async function sending(sizeBytes = SIZE) {
  const dir = temporaryDir();
  const path = join(dir.path, 'file');
  const bytes = randomBytes(sizeBytes);
  writeFileSync(path, bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const proxy = await faultyProxy(controller.url);
  const client = new Connection({
    url: proxy.url,
    key: controller.secrets.ADMIN_KEY,
    requestMs: 20_000,
    transferStallMs: 20_000,
  });
  const begun: string[] = [];
  const stop = new AbortController();
  const options = {
    signal: stop.signal,
    giveUpAfterMs: 30_000,
    partsAboveBytes: 1024,
    retryFirstMs: 20,
    onBegun: async (id: string) => void begun.push(id),
  };
  return {
    dir,
    path,
    proxy,
    sha256,
    client,
    begun,
    stop,
    upload: (change: Partial<BlobUploadOptions> = {}, by = client) =>
      uploadBlob(by, { path, sha256, sizeBytes }, { ...options, ...change }),
    puts: () => proxy.requests.filter((request) => request.startsWith('PUT')).length,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      dir[Symbol.dispose]();
    },
  };
}

test('a file goes up in parts, and the next time not at all', async () => {
  await using one = await sending();
  expect(await one.upload()).toEqual({ ok: true, value: { sha256: one.sha256, size: SIZE, existed: false } });
  expect(await one.upload()).toMatchObject({ ok: true, value: { existed: true } });
  expect([one.puts(), one.begun.length]).toEqual([2, 1]);
  expect(await findBlob(one.client, one.sha256)).toMatchObject({ ok: true, value: { size: SIZE } });
});

test('a file that one request takes goes up in one', async () => {
  await using one = await sending(ONE_SMALL_PART);
  expect(await one.upload({ partsAboveBytes: ONE_SMALL_PART })).toMatchObject({ ok: true, value: { existed: false } });
  expect(one.proxy.requests).toEqual([`PUT /api/blobs/${one.sha256}`]);
});

test('a part that meets a fault is sent again, and it alone', async () => {
  await using one = await sending();
  const faults: Record<string, Fault[]> = { 1: ['cut'], 2: ['refuse', 'damage', 'lose answer'] };
  one.proxy.fault = ({ path, count }) => faults[/\/parts\/(\d)$/.exec(path)?.[1] ?? '']?.[count - 1];
  expect(await one.upload()).toMatchObject({ ok: true });
  const puts = (part: number) => one.proxy.requests.filter((request) => request.endsWith(`/parts/${part}`)).length;
  expect([puts(1), puts(2), one.begun.length]).toEqual([2, 4, 1]);
});

test('the answers to begin, complete and show may be lost', async () => {
  await using one = await sending(ONE_SMALL_PART);
  one.proxy.fault = ({ method, count }) => (method !== 'PUT' && count === 1 ? 'lose answer' : undefined);
  expect(await one.upload()).toMatchObject({ ok: true });
});

/** As long as a test may take. */
const TEST_MS = 180_000;

test('a sender that ends in the middle goes on where it was', async () => {
  await using one = await sending();
  one.proxy.fault = ({ path }) => (path.endsWith('/parts/2') ? 'refuse' : undefined);
  const stored = Promise.withResolvers<void>();
  class Told extends Connection {
    override async open(...asked: Parameters<Connection['open']>) {
      const response = await super.open(...asked);
      if (response.ok && asked[1].endsWith('/parts/1')) stored.resolve();
      return response;
    }
  }
  const first = one.upload(
    { giveUpAfterMs: TEST_MS },
    new Told({ url: one.proxy.url, key: controller.secrets.ADMIN_KEY }),
  );
  first.catch(() => {});
  await stored.promise;
  one.stop.abort(new Error('crash'));
  await expect(first).rejects.toThrow('crash');
  // The first proxy may still hear the last request of the one that has ended.
  await using proxy = await faultyProxy(controller.url);
  const again = await one.upload(
    { signal: new AbortController().signal, uploadId: one.begun[0]! },
    new Connection({ url: proxy.url, key: controller.secrets.ADMIN_KEY }),
  );
  expect(again).toMatchObject({ ok: true });
  expect(proxy.requests.filter((request) => request.startsWith('PUT'))).toHaveLength(1);
});

test('an upload that the controller has forgotten is begun anew', async () => {
  await using one = await sending(ONE_SMALL_PART);
  expect(await one.upload({ uploadId: 'u_forgotten' })).toMatchObject({ ok: true });
});

test('the wait for a controller that verifies the file has a limit, and the next try finds the file', async () => {
  await using one = await sending(ONE_SMALL_PART);
  const answer = await one.upload({ verifyMaxMs: 0 });
  expect(answer).toEqual({ ok: false, kind: 'unreachable', message: expect.stringContaining('not verified it') });
  expect(await one.upload({ uploadId: one.begun[0]! })).toMatchObject({ ok: true });
  expect(one.puts()).toBe(1);
});

test('a part that is always damaged ends the upload in bounded time', async () => {
  await using one = await sending(ONE_SMALL_PART);
  one.proxy.fault = ({ path }) => (path.endsWith('/parts/1') ? 'damage' : undefined);
  expect(await one.upload()).toMatchObject({ ok: false, kind: 'refused', code: 'hash_mismatch' });
  expect(one.puts()).toBe(9);
});

test('a file that is not what its name says is refused, and leaves nothing', async () => {
  await using one = await sending(ONE_SMALL_PART);
  const bytes = readFileSync(one.path);
  bytes[7]! ^= 1;
  writeFileSync(one.path, bytes);
  expect(await one.upload()).toMatchObject({ ok: false, kind: 'refused', code: 'hash_mismatch' });
  expect(await findBlob(one.client, one.sha256)).toMatchObject({ ok: false, code: 'not_found' });
});

test('a controller that does not come back ends it', async () => {
  await using one = await sending(ONE_SMALL_PART);
  one.proxy.fault = () => 'refuse';
  expect(await one.upload({ giveUpAfterMs: 300 })).toMatchObject({ ok: false, kind: 'unreachable' });
});

test('a download that breaks off goes on where it ended, and is what it should be', async () => {
  await using one = await sending(5_000_001);
  await one.upload({ partsAboveBytes: 95 * 1024 * 1024 });
  const admin = new Connection({ url: controller.url, key: controller.secrets.ADMIN_KEY });
  const { worker, key } = await new AdminClient(admin).registerWorker({ name: 'of-upload', pool: 'of-upload' });
  const build = await new BuildsClient(admin).submit({
    source: { sha256: one.sha256 },
    command: 'true',
    platform: 'ios',
    pool: 'of-upload',
  });
  const claimed = await new WorkerClient(one.client.withKey(key)).claim(worker.id, { instanceId: 'i', claimId: 'c' });
  if (!claimed.ok) throw new Error(claimed.message);
  const client = new AttemptClient(one.client.withKey(claimed.value.assignment!.tokens.run));
  const target = { path: join(one.dir.path, 'download'), sha256: one.sha256, sizeBytes: 5_000_001 };
  one.proxy.fault = ({ path, count }) => (path.endsWith('/source') && count === 1 ? 'cut answer' : undefined);
  expect(await client.downloadSource(build.id, target)).toMatchObject({ ok: false, kind: 'unreachable' });
  const there = statSync(target.path).size;
  expect(there).toBeGreaterThan(0);
  expect(there).toBeLessThan(target.sizeBytes);
  expect(await client.downloadSource(build.id, target)).toEqual({ ok: true, value: { sizeBytes: 5_000_001 } });
  expect(createHash('sha256').update(readFileSync(target.path)).digest('hex')).toBe(one.sha256);

  writeFileSync(target.path, 'not what came before');
  expect(await client.downloadSource(build.id, target)).toMatchObject({ ok: false, kind: 'unreachable' });
  expect(await client.downloadSource(build.id, target)).toMatchObject({ ok: true });
});
