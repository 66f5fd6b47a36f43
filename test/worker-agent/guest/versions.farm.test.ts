/**
 * Runs whole attempts whose image has other guest scripts than the agent: the real agent, a VM, a stand-in
 * controller.
 */
import { lstatSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ArtifactGlob } from '#contract';
import { numberOf, ownScripts } from '../../../worker-agent/guest/scripts.ts';
import { runDoctor } from '../../../worker-agent/health-checks/check-up.ts';
import { examinedIn } from '../../../worker-agent/images/images.ts';
import { agentHost } from '../factories/agent-host.ts';
import { otherRelease } from '../factories/other-release.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { until } from '../factories/until.ts';
import { wholeLines } from '../factories/whole-lines.ts';
import { type StandInBuild, standInController } from '../servers/stand-in-controller.ts';

/** Generous: these are whole VMs on a machine that may be busy with others. */
const PATIENCE_MS = 120_000;
const VM = 'tartbeat-worker-1-b1-1';
const { version } = ownScripts();
const OWN = numberOf(version);
const FOLDER = 'usr/local/share/tartbeat/guest';
const LINKS = 'Users/admin/.tartbeat/guest';

type Host = Awaited<ReturnType<typeof agentHost>>;

/** A build that waits for the file `go` in its source, and then leaves an artifact. */
async function submitWaiting(controller: Awaited<ReturnType<typeof standInController>>) {
  return controller.submit({
    id: 'b1',
    command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo out > out.txt; echo end',
    source: await sourceArchive({ a: '' }),
    artifactGlobs: [ArtifactGlob.parse({ glob: 'out.txt' })],
  });
}
const letGo = (host: Host) => writeFileSync(join(host.guestRoot(VM), 'Users/admin/.tartbeat/b1-1/source/go'), '');
const begun = (build: StandInBuild) => until(() => build.log.includes('begun'), 'the build runs', PATIENCE_MS);
const installed = (host: Host) => readdirSync(join(host.guestRoot(VM), LINKS)).sort();
/** The versions whose scripts ran in the VM, of releases that say so. */
const ran = (root: string) => {
  const lines = wholeLines(join(root, 'Users/admin/.tartbeat/ran'));
  return [...new Set(lines.map((line) => line.split('/').at(-2)!))];
};
/** How often this script was started in the VM, of releases that say so. */
const startsOf = (root: string, script: string) =>
  readFileSync(join(root, 'Users/admin/.tartbeat/ran'), 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(`/${script}`)).length;

function expectWhole(build: StandInBuild) {
  expect(build.status, JSON.stringify(build.reports)).toBe('succeeded');
  expect(build.log.toString()).toBe('begun\nend\n');
  expect(build.reports.at(-1)).toMatchObject({ type: 'succeed', artifacts: [{ name: 'out.txt', size: 4 }] });
}

test('an image without guest scripts gets those of the agent, and a newer agent goes on with them', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  using newer = otherRelease({ number: OWN + 1 });
  rmSync(join(host.imageRoot, FOLDER), { recursive: true });
  rmSync(join(host.imageRoot, LINKS), { recursive: true });
  const build = await submitWaiting(controller);
  await using first = host.startAgent();
  await begun(build);
  expect(first.events).toContainEqual(
    expect.objectContaining({ type: 'check', id: 'guest_scripts', detail: expect.stringContaining('installed') }),
  );
  expect(lstatSync(join(host.guestRoot(VM), LINKS, version)).isDirectory()).toBe(true);
  const { scripts, baseline } = host.journal('b1-1');
  expect(scripts).toBe(version);
  expect(baseline).toEqual({ cores: expect.any(Number), bytesPerSecond: expect.any(Number) });
  first.signal('SIGKILL');
  await first.exited;

  await using second = host.startAgent(newer);
  await second.until({ type: 'reconciled', action: 'adopt' });
  await second.until({ type: 'stage', stage: 'building' });
  expect(host.journal('b1-1').baseline).toEqual(baseline);
  letGo(host);
  await second.until({ type: 'stage', stage: 'collecting' });
  expect(installed(host)).toEqual([version]);
  await host.attemptEnds(second);
  expectWhole(build);
});

test('an image with guest scripts of another release gets those of the agent beside them', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  using newer = otherRelease({ number: OWN });
  const build = await submitWaiting(controller);
  await using agent = host.startAgent(newer);
  await begun(build);
  expect(installed(host)).toEqual([version, newer.version].sort());
  expect(ran(host.guestRoot(VM))).toEqual([newer.version]);
  expect(startsOf(host.guestRoot(VM), 'log.sh')).toBe(1);
  letGo(host);
  await host.attemptEnds(agent);
  expectWhole(build);
});

test('tied key: the scripts of the image serve an agent of the next number, and the agent of before that adopts its build', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url, {}, { tiedKey: true });
  using newer = otherRelease({ number: OWN + 1 });
  const build = await submitWaiting(controller);
  await using first = host.startAgent(newer);
  await begun(build);
  expect(host.journal('b1-1').scripts).toBe(version);
  expect(installed(host)).toEqual([version]);
  first.signal('SIGKILL');
  await first.exited;
  await using second = host.startAgent();
  await second.until({ type: 'reconciled', action: 'adopt' });
  letGo(host);
  await host.attemptEnds(second);
  expectWhole(build);
});

test('tied key: scripts older than the number before fail a check that names the command', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url, {}, { tiedKey: true });
  using newer = otherRelease({ number: OWN + 2 });
  const build = await submitWaiting(controller);
  await using agent = host.startAgent(newer);
  await host.attemptEnds(agent);
  expect(build.reports.at(-1)).toMatchObject({
    type: 'fail',
    verdict: 'health_check_failed',
    step: 'ssh',
    message: expect.stringMatching(
      new RegExp(
        `base image \\(${version}\\) are too old .*numbers ${OWN + 1} and ${OWN + 2}.*expo-worker base-image --force --restrict-key`,
      ),
    ),
    evidence: { ssh: { answers: true } },
  });
});

test('tied key: doctor tells of scripts that are too new, and of an image from before there were any', async () => {
  await using host = await agentHost('http://127.0.0.1:9', {}, { tiedKey: true });
  using newer = otherRelease({ number: OWN + 1 });
  const ssh = async () => {
    const report = await runDoctor({
      ...{ configPath: host.configPath, vm: true, imagesOf: examinedIn(host.configPath) },
      signal: AbortSignal.timeout(200_000),
    });
    expect(report.checks.find(({ id }) => id === 'guest_scripts')).toMatchObject({ status: 'skipped' });
    return report.checks.find(({ id }) => id === 'ssh');
  };
  writeFileSync(join(host.imageRoot, FOLDER, 'version'), `${newer.version}\n`);
  expect(await ssh()).toMatchObject({
    status: 'fail',
    detail: expect.stringContaining(`(${newer.version}) are newer than this agent`),
    fix: expect.stringMatching(/^Update the agent, or run `expo-worker base-image --force --restrict-key`/),
  });
  // That gate knew the text of each command, and refused all else in this way.
  writeFileSync(
    join(host.imageRoot, 'usr/local/bin/vm-ssh-gate'),
    "#!/bin/sh\necho 'vm-ssh-gate: refused: this key runs the commands of the agent alone' >&2\nexit 126\n",
  );
  expect(await ssh()).toMatchObject({
    status: 'fail',
    detail: expect.stringContaining('the base image has no guest scripts'),
    fix: expect.stringMatching(/^Run `expo-worker base-image --force --restrict-key`/),
  });
});

test('an attempt from before there were guest scripts, and one whose scripts are too old, go on with those of the agent', async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  using newer = otherRelease({ number: OWN + 2 });
  rmSync(join(host.imageRoot, FOLDER), { recursive: true });
  const build = await submitWaiting(controller);
  await using first = host.startAgent();
  await begun(build);
  first.signal('SIGKILL');
  await first.exited;
  // Writes the journal as an agent of that time has left it.
  const path = join(host.stateDir, 'b1-1/journal.json');
  const { scripts, baseline: _, ...before } = host.journal('b1-1');
  expect(scripts).toBe(version);
  writeFileSync(path, JSON.stringify(before));
  renameSync(join(host.guestRoot(VM), LINKS), join(host.guestRoot(VM), 'gone'));

  await using second = host.startAgent();
  await second.until({ type: 'step', step: 'guest_scripts', status: 'done' });
  await second.until({ type: 'stage', stage: 'building' });
  expect(installed(host)).toEqual([version]);
  expect(host.journal('b1-1').scripts).toBe(version);
  second.signal('SIGKILL');
  await second.exited;

  await using third = host.startAgent(newer);
  await third.until({ type: 'step', step: 'guest_scripts', status: 'done' });
  await third.until({ type: 'stage', stage: 'building' });
  expect(installed(host)).toEqual([version, newer.version].sort());
  expect(host.journal('b1-1').scripts).toBe(newer.version);
  letGo(host);
  await host.attemptEnds(third);
  expectWhole(build);
});
