import { expect, test } from 'vitest';
import { type ProgressHistory, VerdictView, type WorkerDurations } from '#contract';
import { unique } from '../factories/rows.ts';
import {
  aBuild,
  anAssignment,
  api,
  aWorker,
  beat,
  claim,
  report,
  sayStatus,
  show,
  stateOf,
  type TestWorker,
} from '../factories/scenarios.ts';

const history = (durationMs: number): ProgressHistory => ({
  version: 1,
  builds: 1,
  phases: [{ id: 'xcode', durationMs, lines: 10, work: 4 }],
});

/** Claims the only build of the pool. */
async function next(worker: TestWorker) {
  const { body } = await claim(worker);
  if (!body.assignment) throw new Error(JSON.stringify(body));
  return body.assignment;
}

async function succeed(request: { pool: string; project?: string; profile?: string }, worker: TestWorker, said = {}) {
  await aBuild({ ...request, ...(request.profile ? { command: undefined } : {}) });
  const assignment = await next(worker);
  await report(assignment, { type: 'start' });
  expect((await report(assignment, { type: 'succeed', artifacts: [], ...said })).status).toBe(200);
  return assignment;
}

test('a build is told how long the earlier ones of its project, platform and profile took', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  const project = unique('app');
  const first = await succeed({ pool, project }, worker, { history: history(100) });
  expect(first.history).toBeUndefined();
  const second = await succeed({ pool, project }, worker, { history: history(50) });
  expect(second.history).toEqual(history(100));
  const other = await succeed({ pool, project, profile: 'production' }, worker, { history: history(900) });
  expect(other.history).toBeUndefined();
  const third = await succeed({ pool, project }, worker);
  expect(third.history).toEqual({ ...history(75), builds: 2 });
  expect((await succeed({ pool }, worker)).history).toBeUndefined();
});

test('a report that is repeated adds to the history once, a broken history costs no result', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  const project = unique('app');
  await aBuild({ pool, project });
  const assignment = await next(worker);
  await report(assignment, { type: 'start' });
  const said = { type: 'succeed' as const, artifacts: [], history: history(100) };
  expect((await report(assignment, said)).status).toBe(200);
  expect((await report(assignment, said)).status).toBe(200);
  const broken = { version: 7, phases: 'many' } as unknown as ProgressHistory;
  const second = await succeed({ pool, project }, worker, { history: broken });
  expect(second.history).toEqual(history(100));
  expect((await succeed({ pool, project }, worker)).history).toEqual(history(100));
});

test('the expected end is shown while the agent tells it, and is dropped when it no longer does', async () => {
  const { assignment } = await anAssignment();
  const before = Date.now();
  await beat(assignment, 'agent', { stage: 'building', progress: 40, origin: 'parsed', etaMs: 60_000 });
  const { live } = await show(assignment.buildId);
  const endExpectedAt = Date.parse(live!.endExpectedAt!);
  expect(endExpectedAt).toBeGreaterThanOrEqual(before + 60_000);
  expect(endExpectedAt).toBeLessThanOrEqual(Date.now() + 60_000);
  await beat(assignment, 'vm', { progress: 3, origin: 'time' });
  expect((await show(assignment.buildId)).live?.endExpectedAt).toBe(live!.endExpectedAt);
  await beat(assignment, 'agent', { stage: 'collecting' });
  expect((await show(assignment.buildId)).live?.endExpectedAt).toBeNull();
});

test('a known error is shown with the verdict of the build and of its attempt', async () => {
  const { assignment } = await anAssignment();
  const explained = { id: 'disk_full', sentence: 'The disk is full.', advice: 'Free space.', line: 'ENOSPC' };
  await report(assignment, { type: 'fail', verdict: 'build_failed', exitCode: 65, explained });
  const build = await show(assignment.buildId);
  expect(build.verdict).toMatchObject({ code: 'build_failed', explained });
  expect(build.attempts[0]?.verdict?.explained).toEqual(explained);
});

test('an explanation that is none costs no verdict', async () => {
  const { assignment } = await anAssignment();
  const explained = { id: 7 } as never;
  expect((await report(assignment, { type: 'fail', verdict: 'build_failed', explained })).status).toBe(200);
  expect((await show(assignment.buildId)).verdict).toMatchObject({ code: 'build_failed', explained: null });
});

test('where nothing is known, the lines of the log that may tell are shown, said to be a guess by their name', async () => {
  const { assignment } = await anAssignment();
  const tellingLines = ['lantern-plugin: the moon is in the wrong house'];
  await report(assignment, { type: 'fail', verdict: 'build_failed', exitCode: 65, tellingLines });
  const build = await show(assignment.buildId);
  expect(build.verdict).toMatchObject({ code: 'build_failed', explained: null, tellingLines });
  expect(build.attempts[0]?.verdict).toMatchObject({ explained: null, tellingLines });
});

test('where only the phase of the error is known, both the explanation and the lines are shown', async () => {
  const { assignment } = await anAssignment();
  const explained = { id: 'phase_failed', sentence: 'INSTALL_PODS failed.', advice: 'See it.', line: 'Error: pod' };
  const tellingLines = ['lantern-plugin: the moon is in the wrong house'];
  await report(assignment, { type: 'fail', verdict: 'build_failed', exitCode: 1, explained, tellingLines });
  const build = await show(assignment.buildId);
  expect(build.verdict).toMatchObject({ code: 'build_failed', explained, tellingLines });
  expect(build.verdict?.explained).toEqual(explained);
});

test('lines that are too many or too long cost no verdict, nor does an agent that sends none', async () => {
  const broken = [Array.from({ length: 11 }, () => 'x'), ['x'.repeat(501)], 'x', [7]] as never[];
  for (const tellingLines of [...broken, undefined]) {
    const { assignment } = await anAssignment();
    expect((await report(assignment, { type: 'fail', verdict: 'build_failed', tellingLines })).status).toBe(200);
    expect((await show(assignment.buildId)).verdict).toMatchObject({ code: 'build_failed', tellingLines: [] });
  }
});

test('a verdict from a controller that knows no such lines is read', () => {
  const words = { code: 'build_failed', title: '', explanation: '', advice: '' };
  const old = { ...words, whose: 'user', step: null, message: null, explained: null };
  expect(VerdictView.parse(old).tellingLines).toEqual([]);
});

test('a worker learns how long its last builds took, and another worker does not', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  const { buildId } = await succeed({ pool, project: 'app' }, worker, { quietMs: 1_234 });
  const answer = await api<WorkerDurations>('GET', `/api/workers/${worker.id}/durations`, undefined, worker.key);
  expect(answer.body.attempts).toMatchObject([{ buildId, project: 'app', platform: 'ios', quietMs: 1_234 }]);
  expect(answer.body.attempts[0]!.bootMs).toBeGreaterThanOrEqual(0);
  expect(answer.body.attempts[0]!.totalMs).toBeGreaterThanOrEqual(answer.body.attempts[0]!.bootMs!);
  const stranger = await aWorker();
  expect((await api('GET', `/api/workers/${worker.id}/durations`, undefined, stranger.key)).status).toBe(403);
});

test('a doctor without a blocking failure ends quarantine, whether or not an agent runs', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  for (let lost = 0; lost < 3; lost++) {
    await aBuild({ pool });
    await report(await next(worker), { type: 'fail', verdict: 'vm_start_failed', step: 'run' });
  }
  await sayStatus(worker);
  expect((await stateOf(worker)).state).toBe('quarantined');
  const finding = { id: 'host_disk', title: 'Disk', status: 'fail', blocking: true, detail: '1 GB', fix: 'Free space' };
  const post = (findings: object[], instanceId = worker.instanceId) =>
    api<{ state?: string; error?: { code: string } }>(
      'POST',
      `/api/workers/${worker.id}/findings`,
      { instanceId, findings },
      worker.key,
    );

  expect((await post([finding])).body.state).toBe('quarantined');
  expect(await stateOf(worker)).toMatchObject({ state: 'quarantined', findings: [finding] });
  expect((await post([], 'another-mac')).body.error?.code).toBe('worker_in_use');
  expect((await post([{ ...finding, status: 'pass', fix: null }])).body.state).toBe('idle');
  expect((await stateOf(worker)).state).toBe('idle');
});
