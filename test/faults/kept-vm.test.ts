/**
 * Tests VMs that are kept after a failure: what is left in them, how people enter, and each way in which they
 * end. There are three Macs. On one the agent's key is tied to vm-ssh-gate, and on the others it is free.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BuildDetail } from '#contract';
import { changeConfig } from '../../worker-agent/config.ts';
import { FaultFarm, type FaultyBuildRequest, FaultyMac } from './factories/fault-farm.ts';
import type { FaultyBuild } from './factories/faulty-build.ts';

const SECRET = 'geheim-und-lang-genug';
const FILE_SECRET = 'the-content-of-a-secret-file';
const EXPO_WORKER = join(import.meta.dirname, '../../worker-agent/expo-worker.ts');
const TIED = 'restrict,command="$TARTBEAT_ROOT/usr/local/bin/vm-ssh-gate" ';

let macs: FaultFarm;
let free: FaultyMac;
let tied: FaultyMac;
let late: FaultyMac;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 3, startAgents: false });
  const { farm } = macs;
  free = new FaultyMac(farm, 0, undefined, () => {});
  tied = new FaultyMac(farm, 1, undefined, () => {});
  late = new FaultyMac(farm, 2, undefined, () => {});
  for (const { configPath } of farm.macs) await changeConfig(configPath, { keepVmMaxMs: 3_600_000 });
  const keys = join(tied.mac.tartHome, 'vms', tied.baseImage, 'guest/Users/admin/.ssh/authorized_keys');
  writeFileSync(keys, `${TIED}${readFileSync(keys, 'utf8')}`);
  await Promise.all(farm.macs.map((mac) => mac.startAgent()));
});
afterAll(() => macs?.[Symbol.asyncDispose]());

const KEEP = { keepVm: { onFailureMs: 1_800_000 } };

/** A build that fails and whose VM is kept. */
async function keptBuild(mac: FaultyMac, request: FaultyBuildRequest = {}): Promise<FaultyBuild> {
  const build = await mac.build({ command: 'echo broken; exit 7', ...KEEP, ...request });
  await build.fails({ verdict: 'build_failed' });
  await mac.says('kept', { buildId: build.id });
  await build.reaches(isShownAsKept, 'is shown as kept');
  return build;
}
const isShownAsKept = ({ attempts }: BuildDetail) => attempts.at(-1)!.keptUntil !== null;

/** Waits until the VM is deleted, and the API no longer shows it as kept. */
async function isOver(mac: FaultyMac, build: FaultyBuild): Promise<void> {
  await build.reaches((detail) => !isShownAsKept(detail), 'is shown as kept no longer');
  await mac.until(async () => (await mac.mac.vms()).length === 0, 'the VM is gone');
}

const stateOf = (mac: FaultyMac, build: FaultyBuild) => join(dirname(mac.mac.configPath), 'state', `${build.id}-1`);

/** Runs `expo-worker` on a Mac. Its input stays open until `end` is called. */
function command(mac: FaultyMac, ...words: string[]) {
  const child: ChildProcess = spawn(process.execPath, [EXPO_WORKER, ...words, '--config', mac.mac.configPath], {
    stdio: 'pipe',
  });
  const out = { stdout: '', stderr: '' };
  child.stdout!.on('data', (bytes) => (out.stdout += bytes));
  child.stderr!.on('data', (bytes) => (out.stderr += bytes));
  const exited = once(child, 'close').then(([exitCode]) => ({ exitCode: exitCode as number | null, ...out }));
  return {
    out,
    exited,
    write: (text: string) => void child.stdin!.write(text),
    async end(text = '') {
      child.stdin!.end(text);
      return await exited;
    },
  };
}

/** The files of the guest that have this text. */
function filesWith(text: string, folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath, entry.name)).filter((path) => readFileSync(path).includes(text));
}

test.concurrent('no process, no secret and no network is left; it holds its slot through a restart, is entered and released', async () => {
  const build = await keptBuild(free, {
    secretEnv: { TOKEN: SECRET },
    secretFiles: { 'keys/key.p8': Buffer.from(FILE_SECRET).toString('base64') },
    command: `echo "$TOKEN"; echo "token: $TOKEN" >"$HOME/left"; cp keys/key.p8 "$TMPDIR/copy"; echo fine >fine
setsid sh -c 'while :; do date +%s >"$HOME/alive"; sleep 0.2; done' >/dev/null 2>&1 &
until [ -s "$HOME/alive" ]; do sleep 0.1; done; exit 7`,
  });
  await build.logged('***\n');
  const vmName = await free.vmName();
  const guest = join(free.mac.tartHome, 'vms', vmName, 'guest');
  for (const secret of [SECRET, FILE_SECRET, Buffer.from(SECRET).toString('base64').slice(0, 24)])
    expect(filesWith(secret, guest)).toEqual([]);
  expect(existsSync(join(guest, 'Users/admin/.tartbeat', `${build.id}-1`, 'source/fine'))).toBe(true);
  const alive = () => readFileSync(join(guest, 'Users/admin/alive'), 'utf8');
  const before = alive();

  // A second build waits for the slot.
  const next = await free.build({ command: 'echo next' });

  const controller = `http://192.168.64.1:${new URL(free.farm.controller.url).port}/health`;
  const shell = command(free, 'shell', build.id);
  const left = await shell.end(
    `pwd; printf '\\033]52;c;aGk=\\007\\033[31mred\\033[0m\\033[2J\\n'; env | grep -c SSH_AUTH_SOCK
curl -q -s --max-time 3 '${controller}' || echo "no network"; exit 5\n`,
  );
  expect(left.exitCode, left.stderr).toBe(5);
  expect(left.stdout.replaceAll('\x1b', 'ESC')).toMatch(/\/source\nESC\[31mredESC\[0m\n0\nno network\n/);
  expect(left.stderr).toMatch(/^VM of \S+#1\. It is kept for \d+ min/);
  // The simulator knows the processes of the build by its environment alone; a real VM by their age too.
  expect(alive()).toBe(before);

  await free.mac.killAgent();
  const status = JSON.parse((await command(free, 'status', '--json').end()).stdout);
  expect(status).toMatchObject({ running: false, kept: [{ buildId: build.id, attempt: 1, vmName }] });
  await free.mac.startAgent();
  await free.says('reconciled', { vmName, action: 'keep' });
  expect((await next.read()).status).toBe('queued');
  const again = await command(free, 'status').end();
  expect(again.stdout).toMatch(new RegExp(`kept {6}for \\d+ min .*\`expo-worker shell ${build.id}\``));
  expect(await build.reaches(isShownAsKept, 'is kept')).toMatchObject({ status: 'failed' });

  const released = await command(free, 'release', build.id).end();
  expect(released).toMatchObject({ exitCode: 0, stdout: `The VM of ${build.id}#1 is gone, and its slot is free.\n` });
  await next.succeeds('next\n');
  await isOver(free, build);

  // Without an agent the command does it itself.
  const second = await keptBuild(free);
  await free.mac.killAgent();
  expect(await command(free, 'release', second.id).end()).toMatchObject({ exitCode: 0, stderr: '' });
  expect(existsSync(stateOf(free, second))).toBe(false);
  await isOver(free, second);

  // The journal is lost, as with a new disk for the state.
  await free.mac.startAgent();
  const third = await keptBuild(free);
  await free.mac.killAgent();
  rmSync(stateOf(free, third), { recursive: true });
  await free.mac.startAgent();
  await isOver(free, third);

  // Once with a drain, and once with a stop.
  for (const signals of [1, 2]) {
    const kept = await keptBuild(free);
    for (let sent = 0; sent < signals; sent++) free.mac.agent!.signal('SIGTERM');
    expect(await free.mac.agent!.exited).toBe(0);
    await isOver(free, kept);
    expect(existsSync(stateOf(free, kept))).toBe(false);
    await free.mac.startAgent();
  }
  await free.settles();
});

test.concurrent('a tied key is entered by `tart exec`, and the shell ends with the VM, which ends at its limit', async () => {
  // The shortest time that a request may ask for: a shell is opened within it.
  const first = await keptBuild(tied, { keepVm: { onFailureMs: 60_000 } });
  const shell = command(tied, 'shell', `${first.id}#1`);
  shell.write('echo "in $(basename "$PWD")"\n');
  await tied.until(() => shell.out.stdout.includes('in source'), 'the shell answers');
  const ended = await shell.exited;
  expect(ended.stderr).toMatch(
    /^VM of \S+#1, through Tart’s guest agent\. .*\nThe VM is kept no longer: its time is over\.\n$/,
  );
  expect(ended.exitCode).toBe(1);
  await isOver(tied, first);

  // Here the guest agent is missing too.
  const second = await keptBuild(tied);
  await tied.fault('no-guest-agent');
  const without = await command(tied, 'shell', second.id).end();
  expect(without).toMatchObject({ exitCode: 1, stdout: '' });
  expect(without.stderr).toMatch(/tied to vm-ssh-gate and opens no shell, and Tart's guest agent does not answer/);
  expect(await command(tied, 'release', second.id, '1').end()).toMatchObject({ exitCode: 0 });
  await isOver(tied, second);

  for (const [words, exitCode, said] of [
    [['shell', second.id], 1, `This Mac has no VM of build ${second.id} to look into: it is not kept.`],
    [['release', `${second.id}#3`], 1, `This Mac has no VM of attempt 3 of build ${second.id}`],
    [['shell', '../x'], 64, 'BUILD must be the id of a build'],
    [['release'], 64, "missing required argument 'build'"],
  ] as const)
    expect(await command(tied, ...words).end()).toMatchObject({ exitCode, stderr: expect.stringContaining(said) });
  await tied.settles();
});

test.concurrent('the VM of a build that a deadline has failed is kept as clean as any other, and no VM is kept that must not be', async () => {
  const failed = await late.build({
    ...KEEP,
    secretEnv: { TOKEN: SECRET },
    command: `echo "$TOKEN" | tee "$HOME/left"; echo fine >fine
sh -c 'echo $$ >"$HOME/waiting"; exec sleep 600'`,
    timeouts: { noOutputTimeoutMs: 8_000 },
  });
  await failed.fails({ verdict: 'no_output' });
  await late.says('kept', { buildId: failed.id });
  await failed.reaches(isShownAsKept, 'is shown as kept');
  const guest = join(late.mac.tartHome, 'vms', await late.vmName(), 'guest');
  const waited = readFileSync(join(guest, 'Users/admin/waiting'), 'utf8').trim();
  // The process has ended. Its parent may not have asked for its exit code yet, and its id may be another's.
  const { stdout: now } = await execa('ps', ['-o', 'args=', '-p', waited], { reject: false });
  expect(now.trim()).not.toBe('sleep 600');
  expect(filesWith(SECRET, guest)).toEqual([]);
  const shell = await command(late, 'shell', failed.id).end('cat fine\n');
  expect(shell.stdout, shell.stderr).toBe('fine\n');
  expect(await command(late, 'release', failed.id).end()).toMatchObject({ exitCode: 0, stderr: '' });
  await isOver(late, failed);

  // SSH answers, so its VM could be kept. But another attempt follows.
  const repeated = await late.build({ ...KEEP, command: 'echo begun; sleep 300', maxAttempts: 2 });
  await repeated.prints('begun');
  await late.fault('net-cut');
  await repeated.reaches((build) => build.attempts[0]?.verdict?.code === 'vm_silent', 'is silent');
  await late.says('slot_free', { buildId: repeated.id });
  expect(late.warned('the VM is not kept: the build is tried again')).toBe(true);
  await repeated.reaches(({ attempts }) => attempts.length === 2, 'is tried again');
  await late.farm.api.cancel(repeated.id);
  await late.says('slot_free', { buildId: repeated.id, attempt: 2 });

  // None of these keeps its VM: a build that did not ask, a cancelled build, and a stranger's build.
  const unasked = await late.build({ command: 'exit 7' });
  await unasked.fails({ verdict: 'build_failed' });
  await late.says('slot_free', { buildId: unasked.id });
  const cancelled = await late.build({ command: 'echo begun; sleep 300', ...KEEP });
  await cancelled.prints('begun');
  await late.farm.api.cancel(cancelled.id);
  await late.says('slot_free', { buildId: cancelled.id });
  await expect(late.build({ ...KEEP, trusted: false })).rejects.toThrow(/keepVm/);

  // A VM whose network cannot be cut is not kept.
  const uncut = await late.build({ command: 'ln -s /nonexistent/x "$TARTBEAT_ROOT/var/run/pf.conf"; exit 7', ...KEEP });
  await uncut.fails({ verdict: 'build_failed' });
  await late.says('slot_free', { buildId: uncut.id });
  expect(late.warned('the VM is not kept: exit code 1: the network could not be cut')).toBe(true);

  // SSH falls silent, and with it the attempt fails.
  const unreached = await late.build({ command: 'echo begun; sleep 300', ...KEEP });
  await unreached.prints('begun');
  await late.fault('ssh-hang');
  await unreached.fails({ verdict: 'transfer_failed' });
  await late.says('slot_free', { buildId: unreached.id });
  expect(late.warned('the VM is not kept: SSH in it does not answer')).toBe(true);
  const kept = late.events.filter((event) => event.type === 'kept').map((event) => event.buildId);
  expect(kept).toEqual([failed.id]);
  await late.settles();
});
