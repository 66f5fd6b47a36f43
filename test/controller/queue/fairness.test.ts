/**
 * Checks the order of the queue against a plain sort of all that waits, in random mixes of projects, trust,
 * priorities, pools, platforms, images and limits.
 *
 * It runs a few seeded mixes. `MIXES=1000` and `SEED=n` in the environment run more or other ones.
 */
import { env } from 'cloudflare:workers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ImageOffer } from '#contract';
import { queueRank } from '../../../controller/builds/queue-rank.ts';
import { picker } from '../../../controller/queue/pick.ts';
import { metBy } from '../../../controller/queue/requirements.ts';
import { wrongLoads } from '../../../local/chaos/wrong-loads.ts';
import { unique } from '../factories/rows.ts';
import { aBuild, anAssignment, aWorker, claim, report, show } from '../factories/scenarios.ts';
import { aProject, aQueued, begin, end, enqueue, type Queued } from './queued.ts';

const PLATFORMS = ['ios', 'android'] as const;
const IMAGES = ['xcode-26', 'xcode-27'] as const;

/** The offer of an agent: each image of a platform at most once, and one of them is its default. */
const offers: fc.Arbitrary<ImageOffer[]> = fc
  .uniqueArray(fc.record({ name: fc.constantFrom(...IMAGES), platform: fc.constantFrom(...PLATFORMS) }), {
    minLength: 1,
    maxLength: 4,
    selector: ({ name, platform }) => `${name} ${platform}`,
  })
  .map((pairs) =>
    pairs.map((pair, index) => {
      const isDefault = pairs.findIndex(({ platform }) => platform === pair.platform) === index;
      return { ...pair, isDefault, digest: null, provisioned: null };
    }),
  );

/** The projects are numbered, and so are the pools. A build that comes later is queued later, or at once. */
const mix = fc.record({
  limits: fc.array(fc.option(fc.integer({ min: 1, max: 3 })), { minLength: 4, maxLength: 4 }),
  workers: fc.array(
    fc.record({
      pools: fc.uniqueArray(fc.nat(2), { minLength: 1, maxLength: 3 }),
      platforms: fc.uniqueArray(fc.constantFrom(...PLATFORMS), { minLength: 1, maxLength: 2 }),
      // An older agent offers none.
      images: fc.oneof(fc.constant<ImageOffer[]>([]), offers, offers),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  builds: fc.array(
    fc.record({
      project: fc.nat(3),
      trusted: fc.boolean(),
      pool: fc.nat(2),
      platform: fc.constantFrom(...PLATFORMS),
      image: fc.constantFrom(null, null, ...IMAGES),
      priority: fc.constantFrom(0, 0, 0, 1, -1),
      cameBack: fc.boolean(),
    }),
    { minLength: 4, maxLength: 24, size: 'max' },
  ),
  /** At each step one build ends, or a worker asks. */
  steps: fc.array(fc.record({ ends: fc.boolean(), pick: fc.nat(20) }), { minLength: 20, maxLength: 30, size: 'max' }),
});

const partOf = ({ projectId, trusted }: Queued): string => `${projectId} ${trusted}`;

test('every slot goes to the build that a sort of all that waits puts first', { timeout: 3_600_000 }, async () => {
  let mixes = 0;
  await fc.assert(
    fc.asyncProperty(mix, async ({ limits, workers, builds, steps }) => {
      mixes++;
      const pools = [unique('pool'), unique('pool'), unique('pool')];
      const projects = await Promise.all(limits.map((limit) => aProject(limit)));
      const waiting = builds.map(({ project, pool, ...build }, index) =>
        aQueued({ ...build, projectId: projects[project]!, pool: pools[pool]!, queuedAt: 1 + index }),
      );
      await enqueue(waiting);
      const active: Queued[] = [];
      const activeOf = (build: Queued) => active.filter((other) => partOf(other) === partOf(build)).length;
      const hasRoom = (build: Queued) => {
        const limit = limits[projects.indexOf(build.projectId)] ?? Number.POSITIVE_INFINITY;
        return activeOf(build) < limit;
      };
      /** Written a second time here: whether the worker offers the pair of image and platform. */
      const offersIt = ({ platforms, images }: (typeof workers)[number], { platform, image }: Queued): boolean => {
        if (!platforms.includes(platform)) return false;
        if (images.length === 0) return image === null;
        const ofPlatform = images.filter((offer) => offer.platform === platform);
        return ofPlatform.some(({ name, isDefault }) => (image === null ? isDefault : name === image));
      };
      const ask = async (worker: (typeof workers)[number]) => {
        const served = worker.pools.map((pool) => pools[pool]!);
        const eligible = waiting.filter(
          (build) => served.includes(build.pool) && offersIt(worker, build) && hasRoom(build),
        );
        const keyOf = (build: Queued) => [
          queueRank(build.priority, build.cameBack),
          activeOf(build),
          served.indexOf(build.pool),
          build.queuedAt,
        ];
        const expected = eligible.toSorted((one, other) => compare(keyOf(one), keyOf(other)))[0];
        const asking = { id: 'mac', pools: served, meets: metBy(worker) };
        const got = await picker(env, asking, 0, Date.now()).next([]);
        expect(got?.id).toBe(expected?.id);
        if (!expected) return;
        // No eligible project waits while one with more active builds of the same rank gets the slot.
        const rivals = eligible.filter((build) => compare(keyOf(build).slice(0, 1), keyOf(expected).slice(0, 1)) === 0);
        expect(Math.min(...rivals.map(activeOf))).toBe(activeOf(expected));
        await begin(expected.id);
        waiting.splice(waiting.indexOf(expected), 1);
        active.push(expected);
      };
      const finish = async (pick: number) => {
        const [ended] = active.splice(pick % active.length, 1);
        if (ended) await end(ended.id);
      };
      for (const { ends, pick } of steps)
        await (ends && active.length > 0 ? finish(pick) : ask(workers[pick % workers.length]!));
      // Nothing starves: as slots become free, every build that some worker serves has its turn.
      const isServed = (build: Queued) =>
        workers.some((worker) => offersIt(worker, build) && worker.pools.includes(pools.indexOf(build.pool)));
      for (let left = 10 * builds.length; left > 0 && waiting.some(isServed); left--) {
        for (const worker of workers) await ask(worker);
        if (active.length > 0) await finish(left);
      }
      expect(waiting.filter(isServed)).toEqual([]);
      expect(await wrongLoads(env.DB)).toEqual([]);
      for (const { id } of [...active, ...waiting]) await end(id);
    }),
    { numRuns: Number(env.MIXES), seed: Number(env.SEED), endOnFailure: Number(env.MIXES) > 100 },
  );
  expect(mixes).toBeGreaterThanOrEqual(Number(env.MIXES));
});

function compare(one: number[], other: number[]): number {
  const at = one.findIndex((value, index) => value !== other[index]);
  return at < 0 ? 0 : one[at]! - other[at]!;
}

test('after 200 builds of one project, one of another starts in the next free slot', async () => {
  const pool = unique('pool');
  const [busy, late] = [await aProject(), await aProject()];
  await enqueue(Array.from({ length: 200 }, (_, index) => aQueued({ projectId: busy, pool, queuedAt: index + 1 })));
  const workers = await Promise.all([aWorker({ pool }), aWorker({ pool })]);
  const running = await Promise.all(workers.map((worker) => claim(worker)));
  expect(running.every(({ body }) => body.assignment !== null)).toBe(true);
  const buildId = await aBuild({ pool, project: late });
  await report(running[0]!.body.assignment!, { type: 'fail', verdict: 'build_failed', exitCode: 1 });
  expect((await claim(workers[0]!)).body.assignment?.buildId).toBe(buildId);
});

test('a build that came back is before others of its priority, also of less busy projects, and behind a higher one', async () => {
  const pool = unique('pool');
  const project = await aProject();
  const { worker, assignment } = await anAssignment({ pool, project, maxAttempts: 2 });
  const other = await aProject();
  await enqueue([aQueued({ projectId: other, pool })]);
  await report(assignment, { type: 'fail', verdict: 'vm_exited' });
  const higher = await aBuild({ pool, project: other, priority: 1 });
  const { body } = await claim(worker);
  expect(body.assignment?.buildId).toBe(higher);
  await report(body.assignment!, { type: 'fail', verdict: 'build_failed', exitCode: 1 });
  expect((await claim(worker)).body.assignment?.buildId).toBe(assignment.buildId);
  expect((await show(assignment.buildId)).attempt).toBe(2);
});
