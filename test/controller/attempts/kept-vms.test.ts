/** Tests that a kept VM shows until when it is kept, within what the request of its build allows. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { unique } from '../factories/rows.ts';
import { aBuild, anAssignment, api, claim, report, sayStatus, show, stateOf } from '../factories/scenarios.ts';

const ask = { maxAttempts: 2, keepVm: { onFailureMs: 3_600_000 } };
const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
const shownOf = async (buildId: string, attempt = 1) => (await show(buildId)).attempts[attempt - 1]!.keptUntil;
const keep = (buildId: string, key: string, until: string | null, attempt = 1) =>
  api<{ keptUntil: string | null; error?: { code: string; message: string } }>(
    ...(['POST', `/api/builds/${buildId}/kept`, { attempt, until }, key] as const),
  );

test('a VM that is kept shows its end, with the token of its attempt or the key of its worker, until it is released', async () => {
  const { worker, assignment } = await anAssignment(ask);
  const { buildId, tokens } = assignment;
  await report(assignment, { type: 'fail', verdict: 'build_failed', exitCode: 1 });
  const until = inMinutes(30);
  expect(await keep(buildId, tokens.run, until)).toMatchObject({ status: 200, body: { keptUntil: until } });
  expect(await shownOf(buildId)).toBe(until);
  expect((await keep(buildId, worker.key, null)).body).toEqual({ keptUntil: null });
  expect(await shownOf(buildId)).toBeNull();
});

test('it is shown until its end and no longer, also of a worker that was removed, and never longer than asked for', async () => {
  const { worker, assignment } = await anAssignment(ask);
  const { buildId } = assignment;
  const { body } = await keep(buildId, worker.key, inMinutes(24 * 60));
  expect(Date.parse(body.keptUntil!)).toBeLessThanOrEqual(Date.now() + ask.keepVm.onFailureMs);
  await api('DELETE', `/api/workers/${worker.id}`);
  expect(await shownOf(buildId)).toBe(body.keptUntil);
  await env.DB.prepare('UPDATE attempts SET kept_until = 1 WHERE build_id = ?1').bind(buildId).run();
  expect(await shownOf(buildId)).toBeNull();
});

test('a VM is kept while another attempt of its build runs', async () => {
  const { worker, assignment } = await anAssignment(ask);
  const { buildId } = assignment;
  await report(assignment, { type: 'fail', verdict: 'vm_exited' });
  const second = (await claim(worker)).body.assignment;
  expect(second).toMatchObject({ buildId, attempt: 2 });
  expect((await keep(buildId, worker.key, inMinutes(5), 1)).status).toBe(200);
  expect(await shownOf(buildId, 1)).not.toBeNull();
  expect(await shownOf(buildId, 2)).toBeNull();
});

test('a kept VM holds its slot: the worker says why it is full, and who waits does too', async () => {
  const pool = unique('pool');
  const { worker, assignment } = await anAssignment({ ...ask, pool });
  await report(assignment, { type: 'fail', verdict: 'build_failed', exitCode: 1 });
  const until = inMinutes(30);
  await keep(assignment.buildId, worker.key, until);
  await sayStatus(worker, { slotsInUse: 1 });
  expect(await stateOf(worker)).toMatchObject({
    ...{ state: 'cleaning', stateReason: `it keeps the VM of a failed build for a look until ${until}` },
  });
  const waiting = await aBuild({ pool });
  expect((await show(waiting)).waitingFor).toMatch(/: all slots are in use$/);
  await keep(assignment.buildId, worker.key, null);
  await sayStatus(worker);
  expect((await stateOf(worker)).state).toBe('idle');
  expect((await show(waiting)).waitingFor).toMatch(/^a free worker of pool .* ahead of it$/);
});

test('no VM is kept that the request does not name, and none of another worker', async () => {
  const { worker, assignment } = await anAssignment();
  const other = await anAssignment(ask);
  const { buildId, tokens } = assignment;
  expect(await keep(buildId, tokens.run, inMinutes(5))).toMatchObject({
    ...{ status: 403, body: { error: { message: expect.stringMatching(/^until: /) } } },
  });
  expect((await keep(other.assignment.buildId, worker.key, inMinutes(5))).status).toBe(403);
  expect((await keep(buildId, worker.key, null, 2)).status).toBe(404);
  expect((await keep(unique('b'), worker.key, null)).status).toBe(404);
  expect(await shownOf(buildId)).toBeNull();
});

test('a report is answered with the outcome once its attempt has ended, and evidence with the cause that it shows', async () => {
  const { assignment } = await anAssignment({ maxAttempts: 2 });
  expect((await report(assignment, { type: 'start' })).body).toEqual({ status: 'building', attempt: 1 });
  const failed = { type: 'fail', verdict: 'vm_exited', step: 'monitor' } as const;
  const evidence = { collectedAt: '2026-01-01T00:00:00.000Z', vm: 'stopped' as const, runExited: true };
  const outcome = { verdict: 'vm_exited', step: 'monitor', cause: null };
  // The second report is a repetition.
  for (let times = 0; times < 2; times++)
    expect(await report(assignment, failed)).toMatchObject({ status: 200, body: { status: 'queued', outcome } });
  // The refusal of a report tells how the attempt ended before it.
  expect(await report(assignment, { type: 'fail', verdict: 'build_failed' })).toMatchObject({
    ...{ status: 410, body: { outcome, error: { code: 'attempt_ended' } } },
  });
  for (let times = 0; times < 2; times++)
    expect((await report(assignment, { type: 'evidence', evidence })).body.outcome).toEqual({
      ...{ ...outcome, cause: 'vm_exited' },
    });
});

test('a success has no verdict, and an attempt that was cancelled says so', async () => {
  const won = (await anAssignment()).assignment;
  await report(won, { type: 'start' });
  expect((await report(won, { type: 'succeed', artifacts: [] })).body.outcome).toEqual({
    ...{ verdict: null, step: null, cause: null },
  });
  const lost = (await anAssignment()).assignment;
  await api('POST', `/api/builds/${lost.buildId}/cancel`);
  expect(await report(lost, { type: 'fail', verdict: 'vm_exited' })).toMatchObject({
    ...{ status: 410, body: { outcome: { verdict: 'cancelled' } } },
  });
});
