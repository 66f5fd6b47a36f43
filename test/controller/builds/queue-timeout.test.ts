/**
 * Tests the meaning of `queueTimeout`: it counts the time in which a worker could take the build, from the
 * submission or from a requeue.
 */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { builds } from '../../../controller/schema/index.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { db, unique } from '../factories/rows.ts';
import { aBuild, anAssignment, aWorker, claim, report, show } from '../factories/scenarios.ts';

const MINUTE_MS = 60_000;
const QUEUE_TIMEOUT_MS = 10 * MINUTE_MS;
/** Requeued builds of a lost worker may be claimed only after this time. */
const HOLD_MS = 75_000;

const timeouts = { queueTimeoutMs: QUEUE_TIMEOUT_MS };

/**
 * A build that the infrastructure lost long after its submission, and the moment at which it was requeued.
 */
async function aRequeuedBuild(verdict: 'worker_lost' | 'vm_exited', message?: string) {
  const pool = unique('pool');
  const { assignment } = await anAssignment({ pool, maxAttempts: 2, timeouts });
  const { buildId } = assignment;
  const long = Date.now() - 3 * QUEUE_TIMEOUT_MS;
  await db.update(builds).set({ queuedAt: long, createdAt: long }).where(eq(builds.id, buildId));
  await report(assignment, { type: 'fail', verdict, step: 'clone', message });
  const { queuedAt } = (await db.select().from(builds).where(eq(builds.id, buildId)).get())!;
  return { buildId, pool, requeuedAt: queuedAt };
}

test('a requeued build gets its queueTimeout anew, and another worker takes it', async () => {
  const { buildId, pool, requeuedAt } = await aRequeuedBuild('vm_exited');
  expect(Date.now() - requeuedAt).toBeLessThan(MINUTE_MS);
  await sweep(env, Date.now(), 0);
  expect(await show(buildId)).toMatchObject({ status: 'queued', verdict: null });
  await sweep(env, requeuedAt + QUEUE_TIMEOUT_MS - 1, 0);
  expect((await claim(await aWorker({ pool }))).body.assignment).toMatchObject({ buildId, attempt: 2 });
});

test('a requeued build that nobody takes ends with the verdict of its last attempt', async () => {
  const { buildId, requeuedAt } = await aRequeuedBuild('vm_exited', 'the guest crashed');
  await sweep(env, requeuedAt + QUEUE_TIMEOUT_MS, 0);
  const build = await show(buildId);
  expect(build).toMatchObject({
    status: 'failed',
    attempt: 1,
    verdict: { code: 'vm_exited', whose: 'infrastructure', step: 'clone' },
  });
  expect(build.verdict?.message).toBe(
    'the guest crashed; no worker took the build again after attempt 1, within its queueTimeout of 10 min',
  );
  expect(build.events.at(-1)).toMatchObject({ type: 'expire', detail: { verdict: 'vm_exited' } });
});

test('the time in which the VM of a lost worker may still run is no queueing', async () => {
  const { buildId, requeuedAt } = await aRequeuedBuild('worker_lost');
  await sweep(env, requeuedAt + QUEUE_TIMEOUT_MS, 0);
  expect(await show(buildId)).toMatchObject({ status: 'queued' });
  await sweep(env, requeuedAt + HOLD_MS + QUEUE_TIMEOUT_MS, 0);
  expect(await show(buildId)).toMatchObject({ status: 'failed', verdict: { code: 'worker_lost' } });
});

test('a build that was never claimed expires by its queueTimeout, counted from its submission', async () => {
  const buildId = await aBuild({ pool: unique('pool'), timeouts });
  const { queuedAt } = await show(buildId);
  await sweep(env, Date.parse(queuedAt) + QUEUE_TIMEOUT_MS - 1, 0);
  expect((await show(buildId)).status).toBe('queued');
  await sweep(env, Date.parse(queuedAt) + QUEUE_TIMEOUT_MS, 0);
  expect(await show(buildId)).toMatchObject({
    status: 'failed',
    verdict: { code: 'queue_expired', whose: 'user', message: null },
  });
});

test('nothing waits without a bound: a build that is lost again and again ends after its attempts', async () => {
  const pool = unique('pool');
  const buildId = await aBuild({ pool, maxAttempts: 3, timeouts });
  for (let attempt = 1; attempt <= 3; attempt++) {
    const { assignment } = (await claim(await aWorker({ pool }))).body;
    expect(assignment).toMatchObject({ buildId, attempt });
    await report(assignment!, { type: 'fail', verdict: 'vm_exited' });
  }
  expect(await show(buildId)).toMatchObject({ status: 'failed', verdict: { code: 'vm_exited' } });
});
