/** Checks the place of a queued build and when it is expected to start, through the real routes. */
import { expect, test } from 'vitest';
import type { ProgressHistory } from '#contract';
import { requests } from '../factories/platform-limits.ts';
import { unique } from '../factories/rows.ts';
import { aBuild, api, aWorker, claim, report, sayStatus, show, type TestWorker } from '../factories/scenarios.ts';

const MINUTE_MS = 60_000;

async function begin(worker: TestWorker) {
  const { assignment } = (await claim(worker)).body;
  await report(assignment!, { type: 'start' });
  return assignment!;
}

/** A project whose builds take so many minutes. */
async function aProjectOf(minutes: number, worker: TestWorker, pool: string): Promise<string> {
  const project = unique('app');
  await aBuild({ pool, project });
  const phases = [0.25, 0.75].map((share, index) => ({
    ...{ id: `phase-${index}`, durationMs: share * minutes * MINUTE_MS },
    ...{ lines: 10, work: 4 },
  }));
  const history: ProgressHistory = { version: 1, builds: 1, phases };
  await report(await begin(worker), { type: 'succeed', artifacts: [], history });
  return project;
}

/** The place of the build in its queue, and in how many minutes it is expected to start. */
async function placeOf(buildId: string): Promise<[ahead: number, minutes: number | null]> {
  const { queue } = await show(buildId);
  if (!queue) throw new Error('it is not queued');
  expect(Object.keys(queue)).toEqual(['ahead', 'startExpectedAt']);
  const { ahead, startExpectedAt } = queue;
  return [ahead, startExpectedAt && Math.round((Date.parse(startExpectedAt) - Date.now()) / MINUTE_MS)] as never;
}

/** The minute is rounded up, and the test takes a while. */
const inMinutes = (ahead: number, minutes: number) => [
  ahead,
  expect.toSatisfy((found: number | null) => found !== null && Math.abs(found - minutes) <= 1),
];

test('a build starts once those that are active and ahead of it leave a slot', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  const slow = await aProjectOf(40, worker, pool);
  const quick = await aProjectOf(10, worker, pool);
  const active = await aBuild({ pool, project: slow });
  expect(await placeOf(active)).toEqual(inMinutes(0, 0));
  const running = await begin(worker);
  expect((await show(active)).queue).toBeNull();
  const first = await aBuild({ pool, project: quick });
  const second = await aBuild({ pool, project: quick });
  const last = await aBuild({ pool, project: quick });
  expect(await placeOf(first)).toEqual(inMinutes(0, 40));
  expect(await placeOf(last)).toEqual(inMinutes(2, 60));
  expect((await show(last)).waitingFor).toMatch(
    / with 2 build\(s\) of its project and 0 of other projects ahead of it/,
  );

  // Another Mac has a free slot.
  const other = await aWorker({ pool });
  await sayStatus(other);
  expect(await placeOf(first)).toEqual(inMinutes(0, 0));
  expect(await placeOf(last)).toEqual(inMinutes(2, 20));
  await begin(other);
  expect(await placeOf(second)).toEqual(inMinutes(0, 10));
  expect(await placeOf(last)).toEqual(inMinutes(1, 20));
  // A build of a project without a history, which is less busy, goes first.
  const stranger = await aBuild({ pool, project: unique('app') });
  expect(await placeOf(stranger)).toEqual(inMinutes(0, 10));
  expect(await placeOf(second)).toEqual([1, null]);
  await report(running, { type: 'fail', verdict: 'build_failed', exitCode: 1 });
  expect((await claim(worker)).body.assignment?.buildId).toBe(stranger);
  expect(await placeOf(second)).toEqual([0, null]);
});

test('no start is expected where anything that matters is unknown', async () => {
  const [pool, elsewhere] = [unique('pool'), unique('pool')];
  const worker = await aWorker({ pools: [pool, elsewhere] });
  const project = await aProjectOf(10, worker, pool);
  await aBuild({ pool, project });
  await begin(worker);
  const buildId = await aBuild({ pool, project });
  expect(await placeOf(buildId)).toEqual(inMinutes(0, 10));
  // The worker may take what waits in its other pool first.
  const rival = await aBuild({ pool: elsewhere });
  expect(await placeOf(buildId)).toEqual([0, null]);
  await api('POST', `/api/builds/${rival}/cancel`);
  expect(await placeOf(buildId)).toEqual(inMinutes(0, 10));

  const limit = (maxActive: number | null) => api('PATCH', `/api/projects/${project}`, { maxActive });
  expect((await limit(1)).status).toBe(200);
  expect(await placeOf(buildId)).toEqual([0, null]);
  await limit(2);
  expect(await placeOf(buildId)).toEqual(inMinutes(0, 10));
  expect(await placeOf(await aBuild({ pool, project }))).toEqual([1, null]);
  await limit(null);

  const many = await Promise.all(Array.from({ length: 21 }, () => aBuild({ pool, project, priority: 1 })));
  expect(await placeOf(buildId)).toEqual([21, null]);
  await api('POST', `/api/builds/${many[0]}/cancel`);
  expect(await placeOf(buildId)).toEqual(inMinutes(20, 210));
  // It takes as many statements as with one build ahead.
  const statements = requests.at(-1)!.statements;
  await placeOf(many[1]!);
  expect(requests.at(-1)!.statements).toBe(statements);
  expect(statements).toBeLessThan(25);

  await sayStatus(worker, { notReady: 'the disk is full' });
  expect(await placeOf(buildId)).toEqual([20, null]);
  expect(await placeOf(await aBuild({ pool: unique('pool') }))).toEqual([0, null]);
});
