/**
 * Runs a whole build with a key that is tied to vm-ssh-gate: a real agent, a VM, a stand-in for the
 * controller.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ArtifactGlob } from '#contract';
import { runDoctor } from '../../../worker-agent/health-checks/check-up.ts';
import { examinedIn } from '../../../worker-agent/images/images.ts';
import { agentHere, NO_HURRY } from '../factories/agent-here.ts';
import { agentHost } from '../factories/agent-host.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { until } from '../factories/until.ts';
import { standInController } from '../servers/stand-in-controller.ts';
import { connectSsh } from '../tart-simulator/simulated-mac.ts';

/** Long, because these are whole VMs on a machine that may be busy with others. */
const PATIENCE_MS = 120_000;
const glob = (input: { glob: string; required?: boolean; onFailure?: boolean }) => ArtifactGlob.parse(input);

test('tied key: a build with environment, secret files and artifacts, through a restart of the agent', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url, {}, { tiedKey: true });
  const build = controller.submit({
    id: 'b1',
    command: `echo "hello $NAME"; cat a.txt "$TARTBEAT_SECRETS/k.p8"
while [ ! -e go ]; do sleep 0.2; done
mkdir -p "dist/App.app/it's"; echo out > "dist/App.app/it's/o"; echo once >> out.txt; echo end`,
    env: { NAME: `it's` },
    secretFiles: { 'k.p8': Buffer.from('hunter-two\n').toString('base64') },
    source: await sourceArchive({ 'a.txt': 'A\n' }),
    artifactGlobs: [glob({ glob: 'out.txt' }), glob({ glob: 'dist/*.app' })],
  });
  await using first = host.startAgent();
  await until(() => build.log.includes('hello'), 'the build runs', PATIENCE_MS).catch((error) => {
    throw new Error(`${error.message}\n${first.said()}`);
  });
  const vmName = 'tartbeat-worker-1-b1-1';
  using ssh = await connectByHand(host, vmName);
  expect(await ssh.exec('echo alive')).toMatchObject({ stdout: 'alive\n', code: 0 });
  expect((await ssh.exec('df -h /')).stdout).toContain('Filesystem');
  const refused = await ssh.exec('touch go');
  expect(refused).toMatchObject({ stdout: '', code: 126, stderr: expect.stringContaining('vm-ssh-gate: refused:') });

  first.signal('SIGKILL');
  await first.exited;
  await using second = host.startAgent();
  await second.until({ type: 'reconciled', action: 'adopt' });
  writeFileSync(`${host.tartHome}/vms/${vmName}/guest/Users/admin/.tartbeat/b1-1/source/go`, '');
  await host.attemptEnds(second);
  expect(build.status, JSON.stringify(build.reports)).toBe('succeeded');
  // The agent masks secrets before the log leaves the Mac.
  expect(build.log.toString()).toMatch(/^hello .*\nA\n.*\nend\n$/);
  expect(build.reports.at(-1)).toMatchObject({
    type: 'succeed',
    artifacts: [{ name: 'out.txt', size: 5 }, { name: 'dist/App.app.tar.gz' }],
  });
  expect(build.beats.some(({ source }) => source === 'vm')).toBe(true);
  expect(host.vms()).toEqual([]);
});

test('tied key: a failed build has its onFailure artifacts and its evidence, a dead monitor is replaced', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url, {}, { tiedKey: true });
  await using agent = await agentHere(host, NO_HURRY);
  const build = controller.submit({
    id: 'b1',
    command: `old=$(cat "$TARTBEAT_STATE/monitor.pgid"); kill -9 -- "-$old"
until [ "$(cat "$TARTBEAT_STATE/monitor.pgid")" != "$old" ]; do sleep 0.2; done
echo oops; echo 1 > result.log; exit 7`,
    source: await sourceArchive({ a: '' }),
    artifactGlobs: [glob({ glob: 'app.ipa' }), glob({ glob: '*.log', onFailure: true })],
  });
  await until(() => build.status === 'failed', 'the report', PATIENCE_MS);
  expect(build.reports.at(-1), JSON.stringify(agent.events)).toMatchObject({
    type: 'fail',
    verdict: 'build_failed',
    exitCode: 7,
    artifacts: [{ name: 'result.log' }],
    evidence: { vm: 'running', ssh: { answers: true }, controllerFromVm: { reachable: true }, logTail: 'oops\n' },
  });
});

for (const [tiedKey, words] of [
  [true, 'alive; the key is tied to vm-ssh-gate'],
  [false, 'alive; the key may run any command'],
] as const)
  test(`doctor tells that ${words.slice(7)}`, async () => {
    await using controller = await standInController();
    await using host = await agentHost(controller.url, {}, { tiedKey });
    const { configPath } = host;
    const report = await runDoctor({
      configPath,
      vm: true,
      imagesOf: examinedIn(configPath),
      signal: AbortSignal.timeout(200_000),
    });
    expect(report.checks.find(({ id }) => id === 'ssh')).toMatchObject({ status: 'pass', detail: words });
  });

async function connectByHand(host: Awaited<ReturnType<typeof agentHost>>, vmName: string) {
  const privateKey = readFileSync(host.keyPath);
  return connectSsh({ host: host.addressOf(vmName), port: host.sshPort, username: 'admin', privateKey });
}
