/** Tests that the workers of a pool are told to fetch the image that an admin names, a few at a time. */
import { env } from 'cloudflare:workers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  IMAGES_OF_POOL_MAX,
  type ImageFetch,
  type PoolImage,
  type WantedImage,
  type WorkerStatusAnswer,
} from '#contract';
import { wantedImages } from '../../../controller/workers/image-turns.ts';
import { unique } from '../factories/rows.ts';
import { api, aWorker, sayStatus, type TestWorker } from '../factories/scenarios.ts';

const MINUTE_MS = 60_000;
const reference = (letter: string) => `registry.example.com/team/mac@sha256:${letter.repeat(64)}`;
const fetchOf = (state: ImageFetch['state'], changes: Partial<ImageFetch> = {}): ImageFetch => ({
  ...{ name: 'xcode-27', reference: reference('a'), state, percent: null, message: '' },
  ...changes,
});

type Failed = { error: { code: string; message: string } };
const pathOf = (pool: string, name = 'xcode-27') => `/api/pools/${pool}/images/${name}`;
const set = (pool: string, changes: object = {}, name?: string) =>
  api<PoolImage & Failed>('PUT', pathOf(pool, name), { reference: reference('a'), ...changes });
const listed = async (pool: string) =>
  (await api<{ images: PoolImage[] }>('GET', `/api/pools/${pool}/images`)).body.images;
const say = async (worker: TestWorker, imageFetches?: ImageFetch[]): Promise<WantedImage[]> =>
  ((await sayStatus(worker, { imageFetches })).body as unknown as WorkerStatusAnswer).images;
const mayFetch = async (worker: TestWorker, ...said: ImageFetch[]) =>
  (await say(worker, said)).map((one) => one.mayFetch);

async function aPoolOf(count: number, changes: object = {}) {
  const pool = unique('pool');
  const workers = await Promise.all(Array.from({ length: count }, () => aWorker({ pool })));
  expect((await set(pool, changes)).status).toBe(201);
  return { pool, workers };
}

test('an admin names an image by its digest, changes it, and removes it', async () => {
  const { pool } = await aPoolOf(1);
  expect(await listed(pool)).toMatchObject([
    { pool, name: 'xcode-27', reference: reference('a'), atOnce: 1, workers: [] },
  ]);
  expect(await set(pool, { reference: reference('b'), atOnce: 3 })).toMatchObject({
    ...{ status: 200, body: { reference: reference('b'), atOnce: 3 } },
  });
  expect(await listed(pool)).toHaveLength(1);
  for (const wrong of [
    { reference: 'registry.example.com/team/mac:latest' },
    { atOnce: 0 },
    { digest: reference('b') },
  ])
    expect((await set(pool, wrong)).status).toBe(400);
  expect((await api('DELETE', pathOf(pool))).status).toBe(204);
  expect((await api('DELETE', pathOf(pool))).status).toBe(404);
  expect(await listed(pool)).toEqual([]);
  const { body } = await api<{ entries: { action: string; target: string }[] }>('GET', '/api/audit?limit=3');
  expect(body.entries.map(({ action, target }) => [action, target])).toEqual([
    ['image.remove', `image/${pool}/xcode-27`],
    ['image.set', `image/${pool}/xcode-27`],
    ['image.set', `image/${pool}/xcode-27`],
  ]);
});

test('a pool names at most eight images, of which each may still be changed, and none without the pool', async () => {
  const { pool } = await aPoolOf(1);
  for (let i = 1; i < IMAGES_OF_POOL_MAX; i++) expect((await set(pool, {}, `image-${i}`)).status).toBe(201);
  expect(await set(pool, {}, 'one-more')).toMatchObject({
    ...{ status: 429, body: { error: { code: 'too_many', message: expect.stringContaining('remove one of them') } } },
  });
  expect((await set(pool, { atOnce: 2 })).status).toBe(200);
  const none = unique('pool');
  const refused = await set(none);
  expect(refused.status).toBe(404);
  expect(JSON.stringify(refused)).toContain('a pool exists once a worker is registered for it or a key names it');
  expect((await api('GET', `/api/pools/${none}/images`)).status).toBe(404);
});

test('the workers of a pool fetch its image one after another, and the admin sees how far each is', async () => {
  const { pool, workers } = await aPoolOf(2);
  const [first, second] = workers as [TestWorker, TestWorker];
  expect(await say(first, [])).toEqual([{ name: 'xcode-27', reference: reference('a'), mayFetch: true }]);
  expect(await mayFetch(second)).toEqual([false]);
  expect(await mayFetch(first, fetchOf('fetching', { percent: 40 }))).toEqual([true]);
  expect(await mayFetch(second, fetchOf('waiting', { message: 'it is not its turn' }))).toEqual([false]);
  expect((await listed(pool))[0]!.workers.map(({ id, state, percent }) => [id, state, percent])).toEqual(
    expect.arrayContaining([
      [first.id, 'fetching', 40],
      [second.id, 'waiting', null],
    ]),
  );
  expect(await mayFetch(first, fetchOf('done'))).toEqual([false]);
  expect(await mayFetch(second, fetchOf('waiting'))).toEqual([true]);
  expect(await mayFetch(second, fetchOf('failed'))).toEqual([false]);
  // After a failure it waits for a while, unless it says that it wants to try again.
  expect(await mayFetch(second, fetchOf('failed'))).toEqual([false]);
  expect(await mayFetch(second, fetchOf('waiting'))).toEqual([true]);
  expect(await mayFetch(first, fetchOf('done'))).toEqual([false]);
});

test('an agent that never speaks of fetches is told of the image and gets no turn', async () => {
  const { workers } = await aPoolOf(1);
  expect(await say(workers[0]!)).toEqual([{ name: 'xcode-27', reference: reference('a'), mayFetch: false }]);
});

test('of two pools that name an image alike, that which the worker serves first is meant', async () => {
  const [first, second] = [unique('pool'), unique('pool')];
  const worker = await aWorker({ pools: [first, second] });
  await set(second, { reference: reference('b') });
  await set(second, { reference: reference('c') }, 'another');
  expect((await say(worker, [])).map((one) => one.reference)).toEqual([reference('c'), reference('b')]);
  await set(first);
  expect(await say(worker, [])).toEqual([
    { name: 'xcode-27', reference: reference('a'), mayFetch: true },
    { name: 'another', reference: reference('c'), mayFetch: true },
  ]);
  const eight = Array.from({ length: IMAGES_OF_POOL_MAX - 1 }, (_, i) => `image-${i}`);
  for (const name of eight) await set(first, {}, name);
  const named = (await say(worker, [])).map(({ name }) => name);
  expect(named).toEqual([...eight, 'xcode-27']);
});

test('a new reference is fetched by the one whose turn it is, and a removed one by nobody', async () => {
  const { pool, workers } = await aPoolOf(2);
  const [first, second] = workers as [TestWorker, TestWorker];
  expect(await mayFetch(first)).toEqual([true]);
  await set(pool, { reference: reference('b') });
  expect(await mayFetch(second)).toEqual([false]);
  expect(await mayFetch(first, fetchOf('fetching'))).toEqual([true]);
  expect(await mayFetch(first, fetchOf('done', { reference: reference('b') }))).toEqual([false]);
  expect(await mayFetch(second)).toEqual([true]);
  await api('DELETE', pathOf(pool));
  expect(await say(second, [])).toEqual([]);
  expect(await env.DB.prepare('SELECT count(*) AS c FROM image_turns WHERE pool = ?1').bind(pool).first('c')).toBe(0);
});

test('statuses at the same time give no more turns than the pool allows, and more if an admin allows more', async () => {
  const { pool, workers } = await aPoolOf(12, { atOnce: 3 });
  const given = (answers: boolean[][]) => answers.flat().filter(Boolean).length;
  expect(given(await Promise.all(workers.map((worker) => mayFetch(worker))))).toBe(3);
  expect(given(await Promise.all(workers.map((worker) => mayFetch(worker, fetchOf('waiting')))))).toBe(3);
  await set(pool, { atOnce: 5 });
  expect(given(await Promise.all(workers.map((worker) => mayFetch(worker, fetchOf('waiting')))))).toBe(5);
}, 60_000);

// ── Over time ──────────────────────────────────────────────────────────────────────────────────────────────

const OFFLINE_AFTER_MS = 3 * MINUTE_MS;

/** Some workers, a clock, and what each of them says. */
async function aPoolOverTime(count: number, atOnce: number) {
  const { pool, workers } = await aPoolOf(count, { atOnce });
  let now = Date.now();
  return {
    workers,
    pass: (ms: number) => {
      now += ms;
    },
    /** Reports as the status route does. */
    async says(index: number, ...said: ImageFetch[]): Promise<boolean> {
      const { id } = workers[index]!;
      await env.DB.prepare('UPDATE workers SET last_seen = ?2 WHERE id = ?1').bind(id, now).run();
      const [wanted] = await wantedImages(env, { id, pools: [pool] }, said, now - OFFLINE_AFTER_MS, now);
      return wanted!.mayFetch;
    },
    turns: async () =>
      (await env.DB.prepare('SELECT count(*) AS c FROM image_turns WHERE pool = ?1 AND ended_at IS NULL')
        .bind(pool)
        .first<number>('c'))!,
  };
}

test('a turn passes on from a worker that goes offline, which does not find it again', async () => {
  const { says, pass } = await aPoolOverTime(2, 1);
  expect(await says(0)).toBe(true);
  pass(2 * MINUTE_MS);
  expect(await says(1, fetchOf('waiting'))).toBe(false);
  pass(2 * MINUTE_MS);
  expect(await says(1, fetchOf('waiting'))).toBe(true);
  expect(await says(0, fetchOf('fetching'))).toBe(false);
  // The worker goes on if no other has taken the turn meanwhile.
  pass(5 * MINUTE_MS);
  expect(await says(1, fetchOf('fetching'))).toBe(true);
});

test('a turn passes on from a worker that does not speak of the image, which gets no other one for an hour', async () => {
  const { says, pass } = await aPoolOverTime(2, 1);
  expect(await says(0)).toBe(true);
  for (let minute = 1; minute < 10; minute++) {
    pass(MINUTE_MS);
    expect([minute, await says(0), await says(1, fetchOf('waiting'))]).toEqual([minute, true, false]);
  }
  pass(MINUTE_MS);
  expect([await says(0), await says(1, fetchOf('waiting'))]).toEqual([false, true]);
  expect(await says(1, fetchOf('done'))).toBe(false);
  expect(await says(0)).toBe(false);
  pass(61 * MINUTE_MS);
  expect(await says(0)).toBe(true);
});

test('whatever the workers say and however long they are away, no more have a turn than may, and each gets one', {
  timeout: 600_000,
}, async () => {
  const states = fc.constantFrom('silent', 'waiting', 'fetching', 'checking', 'done', 'failed', 'away' as const);
  const steps = fc.array(fc.record({ worker: fc.nat(3), state: states, minutes: fc.constantFrom(0, 0, 1, 4, 11) }), {
    minLength: 10,
    maxLength: 25,
  });
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 3 }), async (script, atOnce) => {
      const { says, pass, turns, workers } = await aPoolOverTime(4, atOnce);
      for (const { worker, state, minutes } of script) {
        pass(minutes * MINUTE_MS);
        if (state === 'silent') await says(worker);
        else if (state !== 'away') await says(worker, fetchOf(state as ImageFetch['state']));
        expect(await turns()).toBeLessThanOrEqual(atOnce);
      }
      // From now on all behave. Each worker that waits gets its turn in the end.
      const left = new Set(workers.keys());
      for (let round = 0; left.size > 0 && round < 20; round++) {
        pass(MINUTE_MS);
        for (const index of [...left])
          if (await says(index, fetchOf('waiting'))) {
            await says(index, fetchOf('done'));
            left.delete(index);
          }
      }
      expect([...left]).toEqual([]);
    }),
    { numRuns: Math.min(Number(env.MIXES), 30), seed: Number(env.SEED) },
  );
});
