/** Kills, restarts and drains the real agent amid attempts, beside a stand-in of the controller. */
import { expect, test } from 'vitest';
import { ArtifactGlob } from '#contract';
import { agentHost } from '../factories/agent-host.ts';
import { buildRuns, PATIENCE_MS } from '../factories/build-runs.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { until } from '../factories/until.ts';
import { standInController } from '../servers/stand-in-controller.ts';

/** Requests that get no answer while an attempt is to stay in a phase. The command holds the last one. */
const HELD: Record<string, (request: { path: string; key: string }) => boolean> = {
  booted: ({ path }) => path === '/health',
  monitor_started: ({ path, key }) => path.endsWith('/heartbeat') && key.startsWith('tb_vm_'),
  command_started: () => false,
};

for (const [phase, holds] of Object.entries(HELD))
  test(`an agent that is killed after ${phase} goes on after its restart, and reports once`, async () => {
    await using controller = await standInController();
    await using host = await agentHost(controller.url);
    const gate = host.gate();
    const build = controller.submit({
      id: 'b1',
      command: `for i in 1 2 3; do echo $i; done; ${gate.wait}; echo 4; echo once >> count; cp count out.txt`,
      source: await sourceArchive({ a: '' }),
      artifactGlobs: [ArtifactGlob.parse({ glob: 'out.txt' })],
    });
    controller.intercept = holds;
    await using first = host.startAgent();
    await until(() => host.hasJournal('b1-1') && host.journal('b1-1').phase === phase, phase, PATIENCE_MS);
    first.signal('SIGKILL');
    await first.exited;
    controller.intercept = () => false;
    await using second = host.startAgent();
    await second.until({ type: 'reconciled', action: 'adopt' });
    gate.open();
    await host.attemptEnds(second);
    expect(build.status).toBe('succeeded');
    expect(build.log.toString()).toBe('1\n2\n3\n4\n');
    expect(build.reports.at(-1)).toMatchObject({ type: 'succeed', artifacts: [{ name: 'out.txt', size: 5 }] });
    expect(host.vms()).toEqual([]);
  });

test('an agent that comes back to a vanished VM says worker_restarted', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const build = controller.submit({
    id: 'b1',
    command: 'echo begun; sleep 600',
    source: await sourceArchive({ a: '' }),
  });
  await using first = host.startAgent();
  await buildRuns(build, first);
  const { pid } = host.journal('b1-1').run;
  first.signal('SIGKILL');
  await first.exited;
  process.kill(pid, 'SIGKILL');
  await using second = host.startAgent();
  await host.attemptEnds(second);
  expect(build.reports.at(-1)).toMatchObject({ type: 'fail', verdict: 'worker_restarted' });
});

test('at start, VMs of ours that belong to nothing are destroyed and all others left alone', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  for (const name of ['tartbeat-worker-1-old-3', 'tartbeat-worker-10-x-1', 'mine', 'tartbeat-worker-1-old'])
    host.addVm(name);
  await using agent = host.startAgent();
  await agent.until({ type: 'started' });
  expect(host.vms().sort()).toEqual(['mine', 'tartbeat-worker-1-old', 'tartbeat-worker-10-x-1']);
});

test('the first SIGTERM finishes the build, the second stops it as worker_stopped', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  const source = await sourceArchive({ a: '' });
  const build = controller.submit({ id: 'b1', command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done', source });
  await using agent = host.startAgent();
  await buildRuns(build, agent);
  controller.submit({ id: 'b2', command: 'true', source });
  agent.signal('SIGTERM');
  expect(await agent.until({ type: 'draining' })).toMatchObject({ waitingFor: ['b1-1'] });
  const beats = build.beats.length;
  await until(() => build.beats.length > beats + 2, 'beats go on', PATIENCE_MS);
  agent.signal('SIGTERM');
  expect(await agent.exited).toBe(0);
  expect(build.reports.at(-1)).toMatchObject({ type: 'fail', verdict: 'worker_stopped' });
  expect(controller.builds.get('b2')!.status).toBe('queued');
  expect(host.vms()).toEqual([]);
  expect(host.attemptDirs()).toEqual([]);
});
