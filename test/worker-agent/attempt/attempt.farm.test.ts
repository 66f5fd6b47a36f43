/** Runs whole attempts with the real agent as a process, a VM, and a stand-in of the controller. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { ArtifactGlob } from '#contract';
import { isPng } from '../../../worker-agent/app-metadata/png.ts';
import { clearFault, setFault } from '../../../worker-agent/tart-simulator/home/faults.ts';
import { iosFiles, ipa } from '../app-metadata/app-files.ts';
import { agentHere, NO_HURRY } from '../factories/agent-here.ts';
import { agentHost } from '../factories/agent-host.ts';
import { buildRuns, PATIENCE_MS } from '../factories/build-runs.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';
import { standInController } from '../servers/stand-in-controller.ts';

const glob = (input: { glob: string; required?: boolean; onFailure?: boolean }) => ArtifactGlob.parse(input);
const VM = 'tartbeat-worker-1-b1-1';
test('a build goes from claim to artifact, and leaves nothing behind', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  const build = controller.submit({
    id: 'b1',
    command:
      'echo "hello $NAME"; cat a.txt; mkdir -p dist/.x; echo out > dist/.x/o.txt; echo "bad name" > "dist/sp ace"',
    env: { NAME: `it's` },
    source: await sourceArchive({ 'a.txt': 'A\n' }),
    artifactGlobs: [glob({ glob: 'dist/**' }), glob({ glob: '*.log', required: false })],
  });
  await host.attemptEnds(agent);
  expect(build.status).toBe('succeeded');
  expect(build.log.toString()).toBe("hello it's\nA\n");
  const report = build.reports.at(-1)!;
  expect(report).toMatchObject({
    type: 'succeed',
    artifacts: [{ name: 'dist/.x/o.txt', size: 4 }, { name: 'dist/sp ace' }],
    log: { length: 13 },
  });
  for (const artifact of report.type === 'succeed' ? report.artifacts : [])
    expect(controller.blobs.get(artifact.sha256)?.length).toBe(artifact.size);
  expect(build.reports.map(({ type }) => type)).toEqual(['start', 'succeed']);
  expect(build.beats.filter(({ source }) => source === 'agent').map(({ stage }) => stage)).toEqual(
    expect.arrayContaining(['booting', 'checking', 'collecting']),
  );
  expect(host.vms()).toEqual([]);
  await until(() => host.attemptDirs().length === 0, 'the folder is gone', PATIENCE_MS);
  await until(() => controller.statuses.at(-1)?.slotsInUse === 0, 'the slot is said to be free', PATIENCE_MS);
  expect(JSON.stringify(agent.events)).not.toContain('tb_');
  agent.signal('SIGTERM');
  expect(await agent.exited).toBe(0);
});

test('artifacts that are gone when the result is told are sent again: success is said of what is stored', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  const build = controller.submit({
    id: 'b1',
    command: `mkdir tree; echo in it >tree/file; echo b >b.txt; echo a >a.txt; echo '${ipa(iosFiles()).toString('base64')}' | base64 -d >Shop.ipa`,
    source: await sourceArchive({ x: '' }),
    artifactGlobs: [glob({ glob: 'tree' }), glob({ glob: '?.txt' }), glob({ glob: 'Shop.ipa' })],
  });
  controller.intercept = ({ path, count }) => {
    if (path.endsWith('/reports') && count === 2) controller.blobs.clear();
    return false;
  };
  await host.attemptEnds(agent);
  expect(build.status, agent.said()).toBe('succeeded');
  const report = build.reports.at(-1)!;
  const artifacts = report.type === 'succeed' ? report.artifacts : [];
  expect(artifacts.map(({ name, app }) => [name, app?.id])).toEqual([
    ...[['Shop.ipa', 'com.example.shop'], ['a.txt'], ['b.txt'], ['tree.tar.gz']].map(([name, id]) => [name, id]),
  ]);
  for (const { sha256, size } of artifacts) expect(controller.blobs.get(sha256)?.length).toBe(size);
  expect(isPng(Buffer.from(controller.blobs.get(artifacts[0]!.app!.icon!)!))).toBe(true);
});

test('a failing command is build_failed with its exit code, its onFailure artifacts and evidence', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = await agentHere(host, NO_HURRY);
  const build = controller.submit({
    id: 'b1',
    command: 'echo oops; echo 1 > result.log; exit 7',
    source: await sourceArchive({ a: '' }),
    artifactGlobs: [glob({ glob: 'app.ipa' }), glob({ glob: '*.log', onFailure: true })],
  });
  await until(() => build.status === 'failed', 'the report', PATIENCE_MS);
  expect(build.reports.at(-1), JSON.stringify(agent.events)).toMatchObject({
    type: 'fail',
    verdict: 'build_failed',
    exitCode: 7,
    artifacts: [{ name: 'result.log' }],
    evidence: {
      vm: 'running',
      ssh: { answers: true },
      monitor: { alive: false },
      controllerFromVm: { reachable: true },
      logTail: 'oops\n',
    },
  });
});

test('a required artifact that is not there is artifact_missing, naming the glob', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  const build = controller.submit({
    id: 'b1',
    command: 'true',
    source: await sourceArchive({ a: '' }),
    artifactGlobs: [glob({ glob: '*.ipa' })],
  });
  await host.attemptEnds(agent);
  expect(build.reports.at(-1)).toMatchObject({ verdict: 'artifact_missing', message: 'no file matches *.ipa' });
});

test('an archive that leads out is source_invalid and never reaches the VM', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'x'), '');
  mkdirSync(join(dir.path, 'source'));
  const { stdout } = await execa('tar', ['-cPf', '-', '-C', join(dir.path, 'source'), '../x'], { encoding: 'buffer' });
  const build = controller.submit({ id: 'b1', command: 'true', source: Buffer.from(stdout) });
  await host.attemptEnds(agent);
  expect(build.reports.at(-1)).toMatchObject({
    type: 'fail',
    verdict: 'source_invalid',
    message: expect.stringContaining('leads out'),
  });
  expect(agent.has({ type: 'step', step: 'command' })).toBe(false);
});

test('SSH that drops during the health checks is replaced, and the checks are made again', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  // The VM asks in the last of its checks. The first time it gets no answer, because SSH drops before.
  controller.intercept = ({ path, count }) => {
    if (path !== '/health' || count > 1) return false;
    setFault(host.tartHome, VM, 'no-ssh');
    return true;
  };
  await using agent = host.startAgent();
  const build = controller.submit({ id: 'b1', command: 'echo built', source: await sourceArchive({ a: '' }) });
  await agent.until({ type: 'check', id: 'controller', status: 'fail' });
  clearFault(host.tartHome, VM, 'no-ssh');
  await host.attemptEnds(agent);
  expect(build.status, agent.said()).toBe('succeeded');
  expect(build.log.toString()).toBe('built\n');
  expect(agent.has({ type: 'warning', message: 'SSH was replaced: the checks are made again' })).toBe(true);
});

test('cancelling ends the VM within seconds, with evidence, and the next build runs', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  const source = await sourceArchive({ a: '' });
  const build = controller.submit({ id: 'b1', command: 'echo begun; sleep 600', source });
  await buildRuns(build, agent);
  build.status = 'cancelled';
  const next = controller.submit({ id: 'b2', command: 'true', source });
  await agent.until({ type: 'result', outcome: 'stopped' });
  await host.attemptEnds(agent);
  expect(build.reports.map(({ type }) => type)).toContain('evidence');
  await until(() => next.status === 'succeeded', 'the next build', PATIENCE_MS);
});

test('a VM that goes away is vm_exited at once', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  const build = controller.submit({
    id: 'b1',
    command: 'echo begun; sleep 600',
    source: await sourceArchive({ a: '' }),
  });
  await buildRuns(build, agent);
  process.kill(host.journal('b1-1').run.pid, 'SIGKILL');
  await host.attemptEnds(agent);
  expect(build.reports.at(-1)).toMatchObject({
    type: 'fail',
    verdict: 'vm_exited',
    step: 'run',
    evidence: { runExited: true },
  });
});

test('a result waits for the controller to come back', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const gate = host.gate();
  const command = `echo begun; ${gate.wait}; echo last`;
  const build = controller.submit({ id: 'b1', command, source: await sourceArchive({ a: '' }) });
  await using agent = host.startAgent();
  await buildRuns(build, agent);
  controller.intercept = (_request, response) => {
    response.writeHead(502).end('<html>');
    return true;
  };
  gate.open();
  await agent.until({ type: 'slot_free' });
  expect(build.status).toBe('building');
  controller.intercept = () => false;
  await until(() => build.status === 'succeeded', 'the result arrives', PATIENCE_MS);
  await until(() => build.log.toString() === 'begun\nlast\n', 'the log arrives', PATIENCE_MS);
});

test('a monitor that dies is started again', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const gate = host.gate();
  const build = controller.submit({
    id: 'b1',
    command: `echo begun; kill -9 -- -"$(cat "$TARTBEAT_STATE/monitor.pgid")"; ${gate.wait}`,
    source: await sourceArchive({ a: '' }),
    // The agent looks after its monitor eight times in this.
    timeouts: { heartbeatTimeoutMs: 8_000 },
  });
  await using agent = host.startAgent();
  await agent.until({ type: 'warning', message: 'the monitor had died and was started again (1 of 3)' });
  gate.open();
  await host.attemptEnds(agent);
  expect(build.status).toBe('succeeded');
});

test('an artifact that the controller refuses for its size is artifact_refused, with its name and size', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  controller.intercept = ({ method, path }, response) => {
    if (method !== 'PUT' || !path.includes('/blobs/')) return false;
    response.writeHead(413, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { code: 'too_large', message: 'a file has at most 1 byte' } }));
    return true;
  };
  const build = controller.submit({
    id: 'b1',
    command: 'echo big >app.ipa',
    source: await sourceArchive({ a: '' }),
    artifactGlobs: [glob({ glob: 'app.ipa' })],
  });
  await host.attemptEnds(agent);
  expect(build.reports.at(-1)).toMatchObject({
    type: 'fail',
    verdict: 'artifact_refused',
    step: 'artifact_upload',
    message: 'app.ipa (4 bytes): a file has at most 1 byte',
  });
});

test.each([
  ['source', 'source_download'],
  ['inputs', 'inputs'],
] as const)('a build whose %s the controller can never hand out again is inputs_gone at %s', async (what, step) => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  controller.intercept = ({ path }, response) => {
    if (path !== `/api/builds/b1/${what}`) return false;
    response.writeHead(422, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { code: 'inputs_gone', message: 'it is gone' } }));
    return true;
  };
  const build = controller.submit({ id: 'b1', command: 'true', source: await sourceArchive({ a: '' }) });
  await host.attemptEnds(agent);
  const last = build.reports.at(-1)!;
  expect(last).toMatchObject({ type: 'fail', verdict: 'inputs_gone', step, message: 'it is gone' });
  expect('evidence' in last, 'nobody looks at the VM').toBe(false);
});

test('a build whose key of INPUTS_KEY is missing waits for it, and is built once the key is back', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await using agent = host.startAgent();
  let refused = 0;
  controller.intercept = ({ path }, response) => {
    if (path !== '/api/builds/b1/inputs' || refused === 3) return false;
    refused++;
    response.writeHead(503, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { code: 'inputs_key_missing', message: 'put the key back' } }));
    return true;
  };
  const build = controller.submit({
    ...{ id: 'b1', command: 'echo "$TOKEN"', env: { TOKEN: 'shown' }, source: await sourceArchive({ a: '' }) },
  });
  await host.attemptEnds(agent);
  expect([refused, build.status, build.log.toString()]).toEqual([3, 'succeeded', 'shown\n']);
  expect(build.reports.map(({ type }) => type)).toEqual(['start', 'succeed']);
});

test('a look at the monitor that fails ends neither the attempt nor the watch', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const [looked, over] = [host.gate(), host.gate()];
  const build = controller.submit({
    id: 'b1',
    // The look prints more output than the agent takes for an answer. Then the monitor dies.
    command: `s=$(find "$TARTBEAT_ROOT/" -name monitor-control.sh | head -1); mv "$s" "$s.kept"
      printf '#!/bin/sh\nhead -c 3000000 /dev/zero\n' >"$s"; chmod 755 "$s"; echo begun
      ${looked.wait}; mv "$s.kept" "$s"
      kill -9 -- -"$(cat "$TARTBEAT_STATE/monitor.pgid")"; ${over.wait}`,
    source: await sourceArchive({ a: '' }),
  });
  await using agent = host.startAgent();
  await until(() => agent.said().includes('the monitor could not be looked at'), 'a look fails', PATIENCE_MS);
  looked.open();
  await agent.until({ type: 'warning', message: 'the monitor had died and was started again (1 of 3)' });
  over.open();
  await host.attemptEnds(agent);
  expect(build.status).toBe('succeeded');
});

test('an agent whose Mac runs two other VMs claims nothing, says why, and claims once one is gone', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  for (const name of ['theirs', 'more']) await host.runVm(name);
  await using agent = host.startAgent();
  const build = controller.submit({ id: 'b1', command: 'true', source: await sourceArchive({ a: '' }) });
  await agent.until({ type: 'idle', state: 'not_ready' });
  await until(() => controller.statuses.at(-1)?.notReady, 'the controller is told', PATIENCE_MS);
  expect(controller.statuses.at(-1)!.notReady).toMatch(/allows 2 .*(theirs, more|more, theirs)/);
  expect(build.status).toBe('queued');
  host.stopVm('more');
  await host.attemptEnds(agent);
  expect(build.status).toBe('succeeded');
});
