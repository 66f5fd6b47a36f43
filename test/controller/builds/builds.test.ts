import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import type { BuildDetail, BuildList } from '#contract';
import { workers } from '../../../controller/schema/index.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { anApp, call, db, errorOf, submitKey, unique } from '../factories/rows.ts';
import {
  aBlob,
  aBuild,
  anArtifact,
  anAssignment,
  api,
  aWorker,
  beat,
  claim,
  report,
  sayStatus,
  show,
  stateOf,
  until,
} from '../factories/scenarios.ts';

const types = (build: BuildDetail) => build.events.map(({ type }) => type);

test('a build goes from submission to success, and its timeline says so', async () => {
  const { worker, assignment } = await anAssignment({ command: 'make all', artifacts: ['out/*.ipa'] });
  expect(assignment).toMatchObject({
    attempt: 1,
    command: 'make all',
    artifactGlobs: [{ glob: 'out/*.ipa', required: true, onFailure: false }],
  });
  expect(await stateOf(worker)).toMatchObject({ state: 'busy', builds: [assignment.buildId] });
  expect((await beat(assignment, 'agent', { stage: 'checking' })).body.vmBeatAt).toBeNull();
  await beat(assignment, 'vm', { progress: 3, origin: 'time', phase: 'Starting' });
  expect((await beat(assignment, 'agent', { stage: 'building', outputAgeMs: 0 })).body.vmBeatAt).not.toBeNull();
  expect((await report(assignment, { type: 'start' })).body).toEqual({ status: 'building', attempt: 1 });
  expect((await report(assignment, { type: 'start' })).body).toEqual({ status: 'building', attempt: 1 });
  expect((await show(assignment.buildId)).live).toMatchObject({
    stage: 'building',
    progress: { percent: 3, origin: 'time' },
    phase: 'Starting',
  });

  const artifacts = [await anArtifact(assignment, 'out/app.ipa', 'an app')];
  expect((await report(assignment, { type: 'succeed', artifacts })).body.status).toBe('succeeded');
  const build = await show(assignment.buildId);
  expect(build).toMatchObject({
    status: 'succeeded',
    verdict: null,
    live: null,
    artifacts: [{ name: 'out/app.ipa', attempt: 1, size: 6 }],
  });
  expect(types(build)).toEqual(['submitted', 'claim', 'start', 'succeed']);
});

test('an artifact keeps what the agent read from its app, and a claim that is no such thing costs nothing', async () => {
  const { assignment } = await anAssignment();
  await report(assignment, { type: 'start' });
  const icon = (await anArtifact(assignment, 'icon.png', unique('a PNG'))).sha256;
  const app = anApp(icon);
  const [shop, turned, long] = await Promise.all(
    ['Shop.ipa', 'Turned.ipa', 'Long.ipa'].map((name) => anArtifact(assignment, name, unique(name))),
  );
  const artifacts = [
    { ...long!, app: { ...app, name: 'x'.repeat(129) } },
    { ...shop!, app },
    { ...turned!, app: { ...app, name: 'Shop\u202egpj' } },
  ];
  expect((await report(assignment, { type: 'succeed', artifacts })).status).toBe(200);
  expect((await report(assignment, { type: 'succeed', artifacts })).status).toBe(200);
  const { artifacts: shown } = await show(assignment.buildId);
  expect(shown.map(({ name, app }) => [name, app])).toEqual([
    ['Long.ipa', null],
    ['Shop.ipa', app],
    ['Turned.ipa', null],
  ]);
  const sent = await call(`/api/builds/${assignment.buildId}/icons/Shop.ipa`, await submitKey());
  expect(await sent.text()).toContain('a PNG');
  expect(Object.fromEntries(sent.headers)).toMatchObject({
    'content-type': 'image/png',
    'x-content-type-options': 'nosniff',
    'content-disposition': expect.stringContaining('attachment'),
  });
  const none = await call(`/api/builds/${assignment.buildId}/icons/Turned.ipa`, await submitKey());
  expect(await errorOf(none)).toEqual([404, 'not_found']);
});

test('an exact repetition of the last report answers the stored outcome and writes nothing; an altered one is refused', async () => {
  const { assignment } = await anAssignment();
  await report(assignment, { type: 'start' });
  const said = { type: 'fail', verdict: 'build_failed', exitCode: 65, message: 'exit code 65' } as const;
  expect((await report(assignment, said)).body.status).toBe('failed');
  const before = await show(assignment.buildId);
  expect(await report(assignment, said)).toMatchObject({ status: 200, body: { status: 'failed' } });
  expect(await report(assignment, { ...said, exitCode: 1 })).toMatchObject({
    status: 410,
    body: { error: { code: 'attempt_ended' } },
  });
  expect(await report(assignment, { type: 'succeed', artifacts: [] })).toMatchObject({ status: 410 });
  expect(await show(assignment.buildId)).toEqual(before);
});

test('a result that names a file that is not stored changes nothing at all', async () => {
  const { assignment } = await anAssignment();
  await report(assignment, { type: 'start' });
  const artifacts = [await anArtifact(assignment, 'a', 'stored'), { name: 'b', sha256: 'f'.repeat(64), size: 1 }];
  expect(await report(assignment, { type: 'succeed', artifacts })).toMatchObject({
    status: 409,
    body: { error: { code: 'artifact_not_stored' } },
  });
  expect(await show(assignment.buildId)).toMatchObject({ status: 'building', artifacts: [] });
});

test('a report that names two files alike is refused, instead of failing for ever', async () => {
  const { assignment } = await anAssignment();
  const artifact = await anArtifact(assignment, 'app.ipa', 'x');
  const said = { type: 'succeed' as const, artifacts: [artifact, artifact] };
  expect(await report(assignment, said)).toMatchObject({ status: 400, body: { error: { code: 'invalid_request' } } });
});

test('artifact names that leave their folder are refused', async () => {
  const { assignment } = await anAssignment();
  for (const name of ['../a', '/a', 'a//b', 'a/./b', 'a\\b', '', 'a\nb']) {
    const artifacts = [{ name, sha256: 'f'.repeat(64), size: 1 }];
    expect(await report(assignment, { type: 'succeed', artifacts })).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_request' } },
    });
  }
});

test('cancelling ends the attempt; its beats are told to stop, and its late result changes nothing', async () => {
  const { assignment } = await anAssignment();
  await beat(assignment, 'agent');
  expect((await api('POST', `/api/builds/${assignment.buildId}/cancel`)).status).toBe(200);
  expect((await api('POST', `/api/builds/${assignment.buildId}/cancel`)).status).toBe(200);
  await until('the deadline is closed', async () => (await beat(assignment, 'agent')).status === 410);
  expect(await report(assignment, { type: 'succeed', artifacts: [] })).toMatchObject({ status: 410 });
  expect(await show(assignment.buildId)).toMatchObject({
    status: 'cancelled',
    verdict: { code: 'cancelled', whose: 'user' },
  });
});

test('a retry is a new build that names the old one; a build that runs cannot be retried', async () => {
  const { assignment } = await anAssignment({ env: { TOKEN: 'secret' } });
  expect(await api('POST', `/api/builds/${assignment.buildId}/retry`)).toMatchObject({
    status: 409,
    body: { error: { code: 'illegal_transition' } },
  });
  await api('POST', `/api/builds/${assignment.buildId}/cancel`);
  const { status, body } = await api<{ id: string }>('POST', `/api/builds/${assignment.buildId}/retry`);
  expect(status).toBe(201);
  expect(await show(body.id)).toMatchObject({ status: 'queued', retryOf: assignment.buildId, attempt: 0 });
});

test('the agent is told which variables are secret, if the submitter told them apart', async () => {
  const given = async (request: object) => {
    const { assignment } = await anAssignment(request);
    return (await call(`/api/builds/${assignment.buildId}/inputs`, assignment.tokens.run)).json();
  };
  expect(await given({ env: { NODE_ENV: 'production' }, secretEnv: { NPM: 'a-token-of-npm' } })).toEqual({
    env: { NODE_ENV: 'production', NPM: 'a-token-of-npm' },
    secretNames: ['NPM'],
    secretFiles: {},
  });
  expect(await given({ env: { A: 'b' }, secretEnv: {} })).toMatchObject({ env: { A: 'b' }, secretNames: [] });
  expect(await given({ env: { A: 'b' } })).toEqual({ env: { A: 'b' }, secretFiles: {} });
});

test('an infrastructure failure goes back to the front of the queue, the user’s own failure does not', async () => {
  const pool = unique('pool');
  const { assignment } = await anAssignment({ pool, maxAttempts: 2 });
  const waiting = await aBuild({ pool });
  await report(assignment, { type: 'fail', verdict: 'vm_exited', message: 'the guest crashed' });
  expect(await show(assignment.buildId)).toMatchObject({
    status: 'queued',
    verdict: null,
    attempts: [{ verdict: { code: 'vm_exited' } }],
  });
  const other = await aWorker({ pool });
  const first = (await claim(other)).body.assignment;
  expect(first).toMatchObject({ buildId: assignment.buildId, attempt: 2, anotherAttemptPossible: false });
  await report(first!, { type: 'start' });
  expect((await report(first!, { type: 'fail', verdict: 'build_failed', exitCode: 1 })).body.status).toBe('failed');
  expect((await claim(other)).body.assignment?.buildId).toBe(waiting);
});

test('the worker that lost an attempt is passed over only while there is another', async () => {
  const pool = unique('pool');
  const { worker, assignment } = await anAssignment({ pool, maxAttempts: 3 });
  const other = await aWorker({ pool });
  await sayStatus(other);
  await report(assignment, { type: 'fail', verdict: 'vm_exited' });
  expect((await claim(worker)).body.assignment).toBeNull();
  await api('PATCH', `/api/workers/${other.id}`, { action: 'pause' });
  expect((await claim(worker)).body.assignment?.attempt).toBe(2);
});

test('a build requeued after a lost worker waits until the old VM is gone for certain', async () => {
  const pool = unique('pool');
  const { assignment } = await anAssignment({ pool, maxAttempts: 2 });
  await report(assignment, { type: 'fail', verdict: 'worker_lost' });
  const build = await show(assignment.buildId);
  expect(build.status).toBe('queued');
  expect(build.waitingFor).toMatch(/^the VM of its lost attempt, which may still run until /);
  expect((await claim(await aWorker({ pool }))).body.assignment).toBeNull();
});

test('the same claim id answers the same assignment, and a worker gets no more builds than it has slots', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  await aBuild({ pool });
  const other = await aBuild({ pool });
  const claimId = unique('claim');
  const first = (await claim(worker, claimId)).body.assignment;
  expect((await claim(worker, claimId)).body.assignment).toEqual(first);
  expect((await claim(worker)).body).toMatchObject({ assignment: null });
  await report(first!, { type: 'fail', verdict: 'build_failed' });
  // The agent may never have got the answer. With this id it would get no more builds.
  expect((await claim(worker, claimId)).body).toMatchObject({ assignment: null, claimIsOver: true });
  const { assignment, claimIsOver } = (await claim(worker)).body;
  expect([assignment?.buildId, claimIsOver]).toEqual([other, undefined]);
});

test('two workers that claim at the same moment never get the same build', async () => {
  const pool = unique('pool');
  const workers = await Promise.all(Array.from({ length: 6 }, () => aWorker({ pool })));
  for (let i = 0; i < 4; i++) await aBuild({ pool });
  const claims = await Promise.all(workers.map((worker) => claim(worker)));
  const given = claims.flatMap(({ body }) => body.assignment?.buildId ?? []);
  expect(new Set(given).size).toBe(given.length);
  const rest = await Promise.all(workers.map((worker) => claim(worker)));
  const all = [...given, ...rest.flatMap(({ body }) => body.assignment?.buildId ?? [])];
  expect(new Set(all).size).toBe(4);
});

test('a worker takes builds of its own pool and platforms alone, oldest first among equal priorities', async () => {
  const pool = unique('pool');
  await aBuild({ pool, platform: 'android' });
  await aBuild({ pool: unique('pool') });
  const low = await aBuild({ pool });
  const lower = await aBuild({ pool, priority: -1 });
  const high = await aBuild({ pool, priority: 5 });
  const order: (string | undefined)[] = [];
  for (let i = 0; i < 3; i++)
    order.push((await claim(await aWorker({ pool, platforms: ['ios'] }))).body.assignment?.buildId);
  expect(order).toEqual([high, low, lower]);
  expect((await claim(await aWorker({ pool, platforms: ['ios'] }))).body.assignment).toBeNull();
});

test('a second agent with the same identity is refused while the first is heard, and takes over when it is not', async () => {
  const worker = await aWorker({ pool: unique('pool') });
  await claim(worker);
  const second = { ...worker, instanceId: unique('instance') };
  expect(await claim(second)).toMatchObject({ status: 409, body: { error: { code: 'worker_in_use' } } });
  expect(await sayStatus(second)).toMatchObject({ status: 409, body: { error: { code: 'worker_in_use' } } });
  await db.update(workers).set({ lastSeen: 1 }).where(eq(workers.id, worker.id));
  expect(await claim(second)).toMatchObject({ status: 200 });
  expect(await claim(worker)).toMatchObject({ status: 409 });
});

test('paused and drained workers are told why they get nothing', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  await aBuild({ pool });
  await api('PATCH', `/api/workers/${worker.id}`, { action: 'drain' });
  expect((await claim(worker)).body).toMatchObject({ assignment: null, reason: 'an operator drains this worker' });
  await api('PATCH', `/api/workers/${worker.id}`, { action: 'resume' });
  expect((await claim(worker)).body.assignment).not.toBeNull();
});

test('a worker is idle only by its agent’s own word', async () => {
  const { worker, assignment } = await anAssignment();
  expect(await sayStatus(worker, { slotsInUse: 1, vms: ['a'] })).toMatchObject({ body: { state: 'busy' } });
  await api('POST', `/api/builds/${assignment.buildId}/cancel`);
  expect(await stateOf(worker)).toMatchObject({ state: 'cleaning', stateReason: 'its last VM is still being deleted' });
  expect(await sayStatus(worker)).toMatchObject({ body: { state: 'idle' } });
});

test('a worker whose agent claims nothing shows why, until the agent claims again', async () => {
  const worker = await aWorker();
  const notReady = 'macOS allows 2 macOS VMs at a time, and other VMs run here: a, b';
  await sayStatus(worker, { notReady });
  expect(await stateOf(worker)).toMatchObject({ state: 'idle', stateReason: notReady });
  await sayStatus(worker, { notReady: null });
  expect(await stateOf(worker)).toMatchObject({ state: 'idle', stateReason: null });
  await sayStatus(worker, { notReady });
  await sayStatus(worker); // an agent from before it said so
  expect(await stateOf(worker)).toMatchObject({ stateReason: null });
});

test('three attempts in a row lost to the infrastructure quarantine a worker until its doctor passes', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  for (let i = 0; i < 3; i++) {
    await aBuild({ pool });
    const { assignment } = (await claim(worker)).body;
    await report(assignment!, { type: 'fail', verdict: 'vm_exited' });
  }
  await aBuild({ pool });
  expect((await claim(worker)).body).toMatchObject({
    assignment: null,
    reason: expect.stringContaining('quarantine'),
  });
  expect((await stateOf(worker)).state).toBe('quarantined');
  const finding = { id: 'tart', title: 'Tart is there', status: 'fail', blocking: true };
  await sayStatus(worker, { findings: [finding] });
  expect((await stateOf(worker)).state).toBe('quarantined');
  await sayStatus(worker, { findings: [{ ...finding, status: 'pass' }] });
  expect((await claim(worker)).body.assignment).not.toBeNull();
});

test('removing a worker ends what it holds and shuts its key out', async () => {
  const { worker, assignment } = await anAssignment();
  expect((await api('DELETE', `/api/workers/${worker.id}`)).status).toBe(204);
  expect(await show(assignment.buildId)).toMatchObject({
    status: 'failed',
    verdict: { code: 'worker_stopped', message: 'the worker was removed' },
  });
  expect((await claim(worker)).status).toBe(401);
  expect((await api('GET', `/api/workers/${worker.id}`)).status).toBe(404);
});

test('evidence may be given once after the end, and the cause follows from it', async () => {
  const { assignment } = await anAssignment();
  const evidence = { collectedAt: new Date().toISOString(), vm: 'stopped' as const, ssh: { answers: false } };
  expect(await report(assignment, { type: 'evidence', evidence })).toMatchObject({ status: 409 });
  await report(assignment, { type: 'fail', verdict: 'transfer_failed', step: 'ssh' });
  expect((await report(assignment, { type: 'evidence', evidence })).status).toBe(200);
  expect((await report(assignment, { type: 'evidence', evidence })).status).toBe(200);
  expect(await report(assignment, { type: 'evidence', evidence: { ...evidence, vm: 'missing' } })).toMatchObject({
    status: 410,
  });
  const build = await show(assignment.buildId);
  expect(build).toMatchObject({ verdict: { code: 'transfer_failed', step: 'ssh' }, cause: { code: 'vm_exited' } });
  expect(types(build).filter((type) => type === 'evidence')).toHaveLength(1);
});

test('a queued build expires by the sweep, and says so', async () => {
  const buildId = await aBuild({ pool: unique('pool'), timeouts: { queueTimeoutMs: 1 } });
  await sweep(env, Date.now() + 10, 0);
  expect(await show(buildId)).toMatchObject({ status: 'failed', verdict: { code: 'queue_expired' } });
});

test('an idempotency key answers the same build again, and refuses another request', async () => {
  const source = { sha256: await aBlob() };
  const request = { source, command: 'make', platform: 'ios', idempotencyKey: unique('key') };
  const first = await api<{ id: string }>('POST', '/api/builds', request);
  const second = await api<{ id: string }>('POST', '/api/builds', request);
  expect([first.status, second.status]).toEqual([201, 200]);
  expect(second.body.id).toBe(first.body.id);
  expect(await api('POST', '/api/builds', { ...request, command: 'other' })).toMatchObject({
    status: 409,
    body: { error: { code: 'idempotency_mismatch' } },
  });
});

test('what a submitter gets wrong is named', async () => {
  const source = { sha256: await aBlob() };
  const cases: [Record<string, unknown>, RegExp][] = [
    [{}, /source/],
    [{ source, platform: 'ios' }, /command: give exactly one of command and profile/],
    [{ source, platform: 'ios', command: 'a', profile: 'b' }, /exactly one/],
    [{ source, platform: 'windows', command: 'a' }, /platform/],
    [{ source, platform: 'ios', command: 'a', timeouts: { heartbeatTimeoutMs: -1 } }, /timeouts\.heartbeatTimeoutMs/],
    [{ source, platform: 'ios', command: 'a', env: { 'A B': 'c' } }, /env/],
    [{ source, platform: 'ios', command: 'a', env: { A: 'b' }, secretEnv: { A: 'c' } }, /secretEnv/],
    [{ source: { sha256: 'e'.repeat(64) }, platform: 'ios', command: 'a' }, /source\.sha256: e+ is not stored/],
  ];
  for (const [request, message] of cases) {
    const { status, body } = await api<{ error: { message: string } }>('POST', '/api/builds', request);
    expect([400, 409]).toContain(status);
    expect(body.error.message).toMatch(message);
  }
});

test('an unknown build, worker and route are each a 404 with words', async () => {
  for (const path of ['/api/builds/none', '/api/workers/none', '/api/nothing', '/nothing']) {
    expect(await api('GET', path)).toMatchObject({ status: 404, body: { error: { code: 'not_found' } } });
  }
  expect(await api('POST', '/api/builds/none/cancel')).toMatchObject({ status: 404 });
});

test('the list pages by cursor, newest first, and filters', async () => {
  const pool = unique('pool');
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) ids.unshift(await aBuild({ pool }));
  const first = (await api<BuildList>('GET', `/api/builds?pool=${pool}&limit=3`)).body;
  const second = (await api<BuildList>('GET', `/api/builds?pool=${pool}&limit=3&cursor=${first.nextCursor}`)).body;
  expect([...first.builds, ...second.builds].map(({ id }) => id)).toEqual(ids);
  expect(second.nextCursor).toBeNull();
  expect((await api<BuildList>('GET', `/api/builds?pool=${pool}&status=succeeded`)).body.builds).toEqual([]);
  expect((await api('GET', '/api/builds?limit=0')).status).toBe(400);
});

test('a worker key without an attempt beats for the current attempt’s VM: hand tests and old monitors', async () => {
  const { worker, assignment } = await anAssignment();
  const path = (build: string, id: string) => `/api/builds/${build}/heartbeat?worker_id=${id}`;
  expect(await api('POST', path(assignment.buildId, worker.id), { progress: 45 }, worker.key)).toMatchObject({
    status: 200,
    body: { status: 'ok', action: 'continue' },
  });
  expect((await show(assignment.buildId)).live?.progress).toEqual({ percent: 45, origin: 'script' });
  const stranger = await aWorker();
  expect((await api('POST', path(assignment.buildId, stranger.id), {}, stranger.key)).status).toBe(403);
  expect((await api('POST', path(assignment.buildId, worker.id), {}, stranger.key)).status).toBe(403);
  expect((await api('POST', path('none', worker.id), {}, worker.key)).status).toBe(404);
  expect((await api('POST', path(assignment.buildId, worker.id), {}, 'no-key')).status).toBe(401);
});

test('a beat with a broken progress counts; only the figure is dropped', async () => {
  const { assignment } = await anAssignment();
  const { buildId, workerId, tokens } = assignment;
  for (const body of [{ progress: 'many' }, { progress: -5 }, { phase: 7 }, null, [1]]) {
    const { status } = await api('POST', `/api/builds/${buildId}/heartbeat?worker_id=${workerId}`, body, tokens.vm);
    expect(status).toBe(200);
  }
  expect((await show(buildId)).live).toMatchObject({ progress: null, phase: null, vmBeatAt: expect.any(String) });
});

test('a VM’s token cannot speak for the agent, nor report', async () => {
  const { assignment } = await anAssignment();
  const { buildId, workerId, tokens } = assignment;
  await api(
    'POST',
    `/api/builds/${buildId}/heartbeat?worker_id=${workerId}`,
    { source: 'agent', stage: 'collecting' },
    tokens.vm,
  );
  expect((await show(buildId)).live).toMatchObject({
    stage: 'booting',
    agentBeatAt: null,
    vmBeatAt: expect.any(String),
  });
  expect((await api('POST', `/api/builds/${buildId}/reports`, { type: 'start', attempt: 1 }, tokens.vm)).status).toBe(
    403,
  );
});

test('a restarted agent is told which attempts are its own', async () => {
  const { worker, assignment } = await anAssignment();
  const { body } = await api('GET', `/api/workers/${worker.id}/attempts`, undefined, worker.key);
  expect(body).toMatchObject({
    attempts: [{ buildId: assignment.buildId, attempt: 1, claimId: assignment.claimId, status: 'assigned' }],
  });
});

test('another installation may look at what a worker holds, and not go on with it while the first is heard', async () => {
  const { worker, assignment } = await anAssignment();
  const held = (query: string) =>
    api<{ attempts?: { buildId: string }[] }>(
      'GET',
      `/api/workers/${worker.id}/attempts${query}`,
      undefined,
      worker.key,
    );
  const attempts = [{ buildId: assignment.buildId }];
  expect(await held('')).toMatchObject({ status: 200, body: { attempts } });
  expect(await held(`?instance_id=${worker.instanceId}`)).toMatchObject({ status: 200, body: { attempts } });
  expect(await held('?instance_id=another')).toMatchObject({ status: 409, body: { error: { code: 'worker_in_use' } } });
  await db.update(workers).set({ lastSeen: 0 }).where(eq(workers.id, worker.id));
  expect(await held('?instance_id=another')).toMatchObject({ status: 200, body: { attempts } });
});
