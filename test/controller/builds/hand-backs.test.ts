/** Tests what becomes of a build whose Mac could have no VM for it: the agent hands it back. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { Assignment, ReportInput } from '#contract';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { unique } from '../factories/rows.ts';
import {
  aBuild,
  anAssignment,
  aWorker,
  claim,
  report,
  sayStatus,
  show,
  stateOf,
  type TestWorker,
} from '../factories/scenarios.ts';

const WORDS = 'tart run: The number of VMs exceeds the system limit (other running VMs: a, b)';
const REFUSED = {
  ...{ type: 'fail', verdict: 'vm_start_failed', step: 'run', message: WORDS, handBack: 'vm_limit' },
  evidence: { collectedAt: '2026-01-01T00:00:00.000Z', vm: 'stopped' },
} as const satisfies Omit<ReportInput & { type: 'fail' }, 'attempt'>;

const handBack = (assignment: Assignment) => report(assignment, REFUSED);
const next = async (worker: TestWorker): Promise<Assignment> => {
  const { assignment } = (await claim(worker)).body;
  if (!assignment) throw new Error('the worker gets nothing');
  return assignment;
};

test('a build that is handed back goes before what waits, and loses none of its attempts', async () => {
  const pool = unique('pool');
  const { assignment } = await anAssignment({ pool, maxAttempts: 1 });
  await aBuild({ pool });
  expect((await handBack(assignment)).body.status).toBe('queued');
  expect(await show(assignment.buildId)).toMatchObject({
    ...{ status: 'queued', verdict: null, attempt: 1, maxAttempts: 1, handBacks: 1 },
    attempts: [{ verdict: { code: 'vm_start_failed', message: WORDS }, handedBack: true, cause: { code: 'vm_limit' } }],
  });
  const again = await next(await aWorker({ pool }));
  expect(again).toMatchObject({ buildId: assignment.buildId, attempt: 2, anotherAttemptPossible: false });
  await report(again, { type: 'start' });
  await report(again, { type: 'succeed', artifacts: [] });
  expect(await show(assignment.buildId)).toMatchObject({ status: 'succeeded', attempt: 2, handBacks: 1 });
});

test('the attempts that the infrastructure loses still count, however often a build was handed back', async () => {
  const { worker, assignment } = await anAssignment({ maxAttempts: 2 });
  expect(assignment.anotherAttemptPossible).toBe(true);
  await handBack(assignment);
  const second = await next(worker);
  expect(second.anotherAttemptPossible).toBe(true);
  await report(second, { type: 'fail', verdict: 'vm_exited' });
  const third = await next(worker);
  expect(third.anotherAttemptPossible).toBe(false);
  await report(third, { type: 'fail', verdict: 'vm_exited' });
  expect(await show(assignment.buildId)).toMatchObject({
    status: 'failed',
    verdict: { code: 'vm_exited' },
    attempt: 3,
  });
});

test('the fourth time is vm_start_failed, with the limit as its cause', async () => {
  const { worker, assignment } = await anAssignment({ maxAttempts: 1 });
  await handBack(assignment);
  for (let time = 2; time <= 3; time++) expect((await handBack(await next(worker))).body.status).toBe('queued');
  expect((await handBack(await next(worker))).body.status).toBe('failed');
  const build = await show(assignment.buildId);
  expect(build).toMatchObject({
    ...{ status: 'failed', attempt: 4, handBacks: 3, cause: { code: 'vm_limit' } },
    verdict: { code: 'vm_start_failed', step: 'run', message: WORDS },
  });
  expect(build.attempts.map(({ handedBack }) => handedBack)).toEqual([true, true, true, false]);
});

test('a report that is repeated is answered the same, also after the next claim, and hands nothing back twice', async () => {
  const { worker, assignment } = await anAssignment();
  await handBack(assignment);
  expect(await handBack(assignment)).toMatchObject({ status: 200, body: { status: 'queued' } });
  await next(worker);
  expect(await handBack(assignment)).toMatchObject({ status: 200, body: { status: 'assigned' } });
  expect(await show(assignment.buildId)).toMatchObject({ status: 'assigned', attempt: 2, handBacks: 1 });
});

test('an older agent, which says nothing of a hand-back, and a reason that is not known count as ever', async () => {
  for (const said of [{}, { handBack: 'no_coffee' }]) {
    const { assignment } = await anAssignment({ maxAttempts: 1 });
    const answer = await report(assignment, {
      type: 'fail',
      verdict: 'vm_start_failed',
      step: 'run',
      ...said,
    } as never);
    expect(answer).toMatchObject({ status: 200, body: { status: 'failed' } });
    expect(await show(assignment.buildId)).toMatchObject({ handBacks: 0, attempts: [{ handedBack: false }] });
  }
});

test('hand-backs put no worker into quarantine, and hide no losses between them', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  await sayStatus(worker);
  for (let time = 1; time <= 3; time++) {
    await aBuild({ pool });
    await handBack(await next(worker));
  }
  expect((await stateOf(worker)).state).toBe('idle');
  for (let time = 1; time <= 3; time++) {
    await report(await next(worker), { type: 'fail', verdict: 'vm_exited' });
    if (time === 3) break;
    await aBuild({ pool });
    await handBack(await next(worker));
  }
  expect((await stateOf(worker)).state).toBe('quarantined');
});

test('a build that was handed back is passed to a worker that is ready, and waits for none that is not', async () => {
  const pool = unique('pool');
  const { worker, assignment } = await anAssignment({ pool });
  const other = await aWorker({ pool });
  await sayStatus(other);
  await handBack(assignment);
  expect((await claim(worker)).body).toMatchObject({
    assignment: null,
    reason: expect.stringContaining('its last attempt ended on this one'),
  });
  await sayStatus(other, { notReady: 'macOS allows 2 macOS VMs at a time' });
  expect((await next(worker)).buildId).toBe(assignment.buildId);
});

test('a build that was handed back and that nobody takes again ends with its queueTimeout', async () => {
  const queueTimeoutMs = 60_000;
  const { worker, assignment } = await anAssignment({ timeouts: { queueTimeoutMs } });
  await handBack(assignment);
  await sayStatus(worker, { notReady: WORDS });
  const { name } = await stateOf(worker);
  expect((await show(assignment.buildId)).waitingFor).toBe(`a worker that is ready. ${name}: ${WORDS}`);
  await sweep(env, Date.now() + queueTimeoutMs, 0);
  expect(await show(assignment.buildId)).toMatchObject({
    status: 'failed',
    verdict: { code: 'vm_start_failed', message: expect.stringContaining('no worker took the build again') },
  });
});
