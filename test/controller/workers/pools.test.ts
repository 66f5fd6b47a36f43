/**
 * Checks that a worker serves a list of pools in its order, also for clients and rows of the former release.
 */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { Worker } from '#contract';
import { unique } from '../factories/rows.ts';
import { aBuild, anAssignment, api, aWorker, claim, report, sayStatus, show, stateOf } from '../factories/scenarios.ts';

const three = () => [unique('pool'), unique('pool'), unique('pool')] as const;
const patch = (id: string, change: object) => api<Worker>('PATCH', `/api/workers/${id}`, change);
const claimed = async (worker: Awaited<ReturnType<typeof aWorker>>) => (await claim(worker)).body.assignment?.buildId;

test('of builds that are level a worker takes those of its first pool, and none of a pool that it does not serve', async () => {
  const [first, second, foreign] = three();
  const worker = await aWorker({ pools: [first, second], slots: 2 });
  expect(await stateOf(worker)).toMatchObject({ pools: [first, second], pool: first });
  await aBuild({ pool: foreign, priority: 100 });
  // The older one waits, because it is in the second pool and no more urgent.
  const older = await aBuild({ pool: second });
  const [urgent, next] = [await aBuild({ pool: second, priority: 1 }), await aBuild({ pool: first })];
  expect([await claimed(worker), await claimed(worker)]).toEqual([urgent, next]);
  const other = await aWorker({ pools: [second, first], slots: 2 });
  expect([await claimed(other), await claimed(other)]).toEqual([older, undefined]);
});

test('an admin changes the list, and the older field means a list of one', async () => {
  const [first, second, third] = three();
  const worker = await aWorker({ pool: first });
  expect(await stateOf(worker)).toMatchObject({ pools: [first], pool: first });
  expect((await patch(worker.id, { pools: [second, third] })).body).toMatchObject({ pools: [second, third] });
  expect((await patch(worker.id, { action: 'pause' })).body).toMatchObject({
    pools: [second, third],
    state: 'offline',
  });
  expect((await patch(worker.id, { action: 'resume', pool: third })).body).toMatchObject({ pools: [third] });
  const buildId = await aBuild({ pool: third });
  expect(await claimed(worker)).toBe(buildId);
  const made = await env.DB.prepare('SELECT count(*) AS count FROM pools WHERE name IN (?1, ?2, ?3)')
    .bind(first, second, third)
    .first<number>('count');
  expect(made).toBe(3);
  expect(await stateOf(await aWorker())).toMatchObject({ pools: ['default'], pool: 'default' });
});

test.each([
  ['nine pools', { pools: Array.from({ length: 9 }, (_, index) => `p${index}`) }],
  ['no pool', { pools: [] }],
  ['a pool twice', { pools: ['a', 'a'] }],
  ['both forms', { pools: ['a'], pool: 'a' }],
  ['a name that is none', { pools: ['a b'] }],
])('a list of %s is refused', async (_, pools) => {
  const { status, body } = await api<{ error: { message: string } }>('POST', '/api/workers', {
    name: unique('mac'),
    ...pools,
  });
  expect([status, body.error.message]).toEqual([400, expect.stringMatching(/^pools/)]);
  expect((await patch((await aWorker()).id, pools)).status).toBe(400);
});

test('a worker of the former release serves its one pool, also after that release has moved it', async () => {
  const [old, moved, stale] = three();
  const worker = await aWorker({ pools: [old, stale] });
  await env.DB.prepare('DELETE FROM worker_pools WHERE worker_id = ?1').bind(worker.id).run();
  expect(await stateOf(worker)).toMatchObject({ pools: [old] });
  const first = await aBuild({ pool: old });
  await sayStatus(worker);
  expect((await show(first)).waitingFor).toMatch(/^a free worker/);
  expect(await claimed(worker)).toBe(first);

  const other = await aWorker({ pools: [old, stale] });
  await env.DB.prepare('UPDATE workers SET pool = ?2 WHERE id = ?1').bind(other.id, moved).run();
  expect(await stateOf(other)).toMatchObject({ pools: [moved] });
  await aBuild({ pool: stale });
  expect(await claimed(other)).toBeUndefined();
  const second = await aBuild({ pool: moved });
  expect(await claimed(other)).toBe(second);
});

test('who waits is told of a worker that serves its pool as its last one', async () => {
  const [first, second] = three();
  const buildId = await aBuild({ pool: second });
  expect((await show(buildId)).waitingFor).toMatch(`a worker of pool ${second}: no worker serves this pool`);
  const worker = await aWorker({ pools: [first, second] });
  await sayStatus(worker);
  expect((await show(buildId)).waitingFor).toMatch(new RegExp(`^a free worker of pool ${second}, `));
  await patch(worker.id, { action: 'pause' });
  expect((await show(buildId)).waitingFor).toMatch(/^a worker that is not paused/);
});

test('a build avoids its last worker only if another one serves its own pool', async () => {
  const [shared, own] = three();
  const { worker, assignment } = await anAssignment({ pool: own, maxAttempts: 2 });
  await patch(worker.id, { pools: [shared, own] });
  const other = await aWorker({ pools: [shared] });
  await sayStatus(other);
  await report(assignment, { type: 'fail', verdict: 'vm_exited' });
  expect(await claimed(worker)).toBe(assignment.buildId);
});

test('a worker is told for which platform the builds of its pools are', async () => {
  const [first, second] = three();
  await aBuild({ pool: second, platform: 'android' });
  const worker = await aWorker({ pools: [first, second], platforms: ['ios'] });
  expect((await claim(worker)).body.reason).toMatch(
    new RegExp(`^the builds that wait in pools ${first}, ${second} are for android, `),
  );
});
