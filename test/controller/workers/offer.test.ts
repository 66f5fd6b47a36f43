/** Tests that a worker offers what its agent says, and that a build or a worker that waits is told why. */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import type { Worker } from '#contract';
import { attempts, workers } from '../../../controller/schema/index.ts';
import { db, unique } from '../factories/rows.ts';
import {
  aBuild,
  anAssignment,
  api,
  aWorker,
  claim,
  report,
  sayStatus,
  show,
  stateOf,
  type TestWorker,
} from '../factories/scenarios.ts';

const claimOffering = (worker: TestWorker, offer: Record<string, unknown>) =>
  api<{ assignment: { buildId: string } | null; reason: string | null }>(
    'POST',
    `/api/workers/${worker.id}/claim`,
    { instanceId: worker.instanceId, claimId: unique('claim'), ...offer },
    worker.key,
  );
const NOTHING_AHEAD = '0 build(s) of its project and 0 of other projects ahead of it';
const patch = (worker: TestWorker, change: object) => api<Worker>('PATCH', `/api/workers/${worker.id}`, change);
const reasonOf = async (worker: TestWorker) => (await claim(worker)).body.reason;

async function anIdleWorker(request: Record<string, unknown>) {
  const worker = await aWorker(request);
  await sayStatus(worker, { slots: request.slots ?? 1, platforms: request.platforms });
  return worker;
}
const lose = async (worker: TestWorker, pool: string) => {
  await aBuild({ pool });
  await report((await claim(worker)).body.assignment!, { type: 'fail', verdict: 'vm_exited' });
};

test('a worker has the slots that its agent says with a claim or its status, within the two of the licence', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  for (let i = 0; i < 3; i++) await aBuild({ pool });
  expect((await claimOffering(worker, { slots: 2 })).body.assignment).not.toBeNull();
  expect((await claimOffering(worker, { slots: 2 })).body.assignment).not.toBeNull();
  expect((await claimOffering(worker, { slots: 2 })).body).toMatchObject({
    assignment: null,
    reason: expect.stringContaining('holds 2 build(s) and has 2 slot(s); `maxConcurrentBuilds`'),
  });
  // The controller drops a number that no Mac may have, and a value that is no number.
  for (const slots of [3, 0, 'two']) expect((await claimOffering(worker, { slots })).status).toBe(200);
  expect(await stateOf(worker)).toMatchObject({ slots: 2 });
  await sayStatus(worker, { slots: 1 });
  expect(await stateOf(worker)).toMatchObject({ slots: 1, state: 'busy' });
});

test('an older agent does not say what it offers, so what was registered holds', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool, slots: 2, platforms: ['ios'] });
  for (let i = 0; i < 2; i++) await aBuild({ pool });
  for (let i = 0; i < 2; i++) expect((await claim(worker)).body.assignment).not.toBeNull();
  expect(await stateOf(worker)).toMatchObject({ slots: 2, platforms: ['ios'] });
});

test('a worker builds for the platforms that its agent says, and is told if all that waits is for another', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool, platforms: ['ios'] });
  await aBuild({ pool, platform: 'android' });
  expect(await reasonOf(worker)).toContain(`that wait in pool ${pool} are for android, and this worker builds for ios`);
  expect((await claimOffering(worker, { platforms: ['tvos'] })).body.assignment).toBeNull();
  expect((await claimOffering(worker, { platforms: ['android'] })).body.assignment).not.toBeNull();
  expect(await stateOf(worker)).toMatchObject({ platforms: ['android'] });
});

test('an admin moves a worker to another pool, and is told where slots and platforms are set', async () => {
  const [pool, other] = [unique('pool'), unique('pool')];
  const worker = await aWorker({ pool });
  const buildId = await aBuild({ pool: other });
  expect((await patch(worker, { pool: other })).body).toMatchObject({ pool: other, state: 'offline' });
  expect((await patch(worker, { action: 'pause' })).body).toMatchObject({ pool: other });
  expect((await patch(worker, { pool: other, action: 'resume' })).status).toBe(200);
  expect((await claim(worker)).body.assignment?.buildId).toBe(buildId);
  for (const change of [{}, { slots: 2 }, { platforms: ['ios'] }]) {
    const { status, body } = await api<{ error: { message: string } }>('PATCH', `/api/workers/${worker.id}`, change);
    expect([status, body.error.message]).toEqual([400, expect.stringContaining('`maxConcurrentBuilds`')]);
  }
});

// Each row is another worker of the pool that could not take the build, so the worker that lost it does.
const NO_ALTERNATIVES: Record<string, (pool: string) => Promise<unknown>> = {
  'builds for another platform': (pool) => anIdleWorker({ pool, platforms: ['android'] }),
  'has no free slot': async (pool) => {
    const worker = await anIdleWorker({ pool });
    await db.insert(attempts).values({
      ...{ buildId: await aBuild({ pool: unique('pool') }), attempt: 1, workerId: worker.id },
      ...{ instanceId: worker.instanceId, claimId: unique('claim'), claimedAt: Date.now() },
    });
  },
  'is in quarantine': async (pool) => {
    const elsewhere = unique('pool');
    const worker = await anIdleWorker({ pool: elsewhere });
    for (let i = 0; i < 3; i++) await lose(worker, elsewhere);
    await patch(worker, { pool });
  },
  'is in another pool': () => anIdleWorker({ pool: unique('pool') }),
  'says that it is not ready': async (pool) => sayStatus(await anIdleWorker({ pool }), { notReady: 'two VMs' }),
  'was not heard lately': async (pool) => {
    const worker = await anIdleWorker({ pool });
    await db.update(workers).set({ lastSeen: 1 }).where(eq(workers.id, worker.id));
  },
};
test.each(Object.entries(NO_ALTERNATIVES))('no alternative: a worker that %s', async (_, make) => {
  const pool = unique('pool');
  const { worker, assignment } = await anAssignment({ pool, maxAttempts: 2 });
  await make(pool);
  await report(assignment, { type: 'fail', verdict: 'vm_exited' });
  expect((await claim(worker)).body.assignment?.attempt).toBe(2);
});

test('builds that avoid a worker do not keep it from the builds behind them', async () => {
  const pool = unique('pool');
  const worker = await anIdleWorker({ pool, slots: 1 });
  const other = await anIdleWorker({ pool });
  for (let i = 0; i < 2; i++) {
    await aBuild({ pool, maxAttempts: 2 });
    await report((await claim(worker)).body.assignment!, { type: 'fail', verdict: 'vm_exited' });
  }
  const build = await aBuild({ pool });
  expect((await claim(worker)).body.assignment?.buildId).toBe(build);
  expect((await claim(other)).body.assignment?.attempt).toBe(2);
});

test('a worker that is avoided is named to those who wait, with the time, and is told so itself', async () => {
  const pool = unique('pool');
  const { worker, assignment } = await anAssignment({ pool, maxAttempts: 2 });
  const { name } = await stateOf(worker);
  await anIdleWorker({ pool });
  await report(assignment, { type: 'fail', verdict: 'vm_exited' });
  const { waitingFor } = await show(assignment.buildId);
  expect(waitingFor).toMatch(
    new RegExp(
      `^a free worker of pool ${pool}, .*worker ${name} had its last attempt and is passed over until 20.*Z if another`,
    ),
  );
  expect(await reasonOf(worker)).toMatch(
    new RegExp(
      `^build ${assignment.buildId} waits for another worker until 20.*Z, because its last attempt ended on this one$`,
    ),
  );
});

test('whoever waits is told what keeps each worker from the build', async () => {
  const pool = unique('pool');
  const buildId = await aBuild({ pool });
  const waitingFor = async () => (await show(buildId)).waitingFor;
  expect(await waitingFor()).toBe(`a worker of pool ${pool}: no worker serves this pool, so its name may be wrong`);
  await aWorker({ pool });
  expect(await waitingFor()).toBe(`a worker of pool ${pool} that builds for ios: none is online`);
  const worker = await anIdleWorker({ pool });
  const { name } = await stateOf(worker);
  expect(await waitingFor()).toBe(`a free worker of pool ${pool}, with ${NOTHING_AHEAD}`);
  await patch(worker, { action: 'pause' });
  expect(await waitingFor()).toBe(`a worker that is not paused; paused: ${name}`);
  await patch(worker, { action: 'resume' });
  await sayStatus(worker, { notReady: 'macOS allows 2 macOS VMs at a time' });
  expect(await waitingFor()).toBe(`a worker that is ready. ${name}: macOS allows 2 macOS VMs at a time`);
  const ready = await anIdleWorker({ pool });
  expect(await waitingFor()).toBe(
    `a free worker of pool ${pool}, with ${NOTHING_AHEAD}; not ready: ${name}: macOS allows 2 macOS VMs at a time`,
  );
  await sayStatus(worker);
  await patch(ready, { action: 'pause' });
  const elsewhere = unique('pool');
  await patch(worker, { pool: elsewhere });
  await aBuild({ pool: elsewhere });
  const { assignment } = (await claim(worker)).body;
  await patch(worker, { pool });
  expect(await waitingFor()).toBe(`a free worker of pool ${pool}, with ${NOTHING_AHEAD}: all slots are in use`);
  await report(assignment!, { type: 'fail', verdict: 'vm_exited' });
  await patch(worker, { pool: elsewhere });
  for (let i = 0; i < 2; i++) await lose(worker, elsewhere);
  await patch(worker, { pool });
  expect(await waitingFor()).toBe(`a worker that is not in quarantine: run \`expo-worker doctor\` on ${name}`);
});

test('a worker is told of the build that waits for the VM of its lost attempt, and of an empty queue nothing', async () => {
  const pool = unique('pool');
  const { worker, assignment } = await anAssignment({ pool, maxAttempts: 2 });
  await report(assignment, { type: 'fail', verdict: 'worker_lost' });
  expect(await reasonOf(worker)).toMatch(/ waits until 20.*Z, because the VM of its lost attempt may still run$/);
  await env.DB.prepare("UPDATE builds SET status = 'cancelled', ended_at = 1 WHERE id = ?1")
    .bind(assignment.buildId)
    .run();
  expect(await reasonOf(worker)).toBeNull();
});
