import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { execa } from 'execa';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as answers from '../../../worker-agent/guest/answers.ts';
import { type AttemptKey, GuestArgumentError, shellQuote, stateName } from '../../../worker-agent/guest/arguments.ts';
import * as guest from '../../../worker-agent/guest/commands.ts';
import { parseProcesses } from '../../../worker-agent/guest/processes.ts';
import { ownScripts } from '../../../worker-agent/guest/scripts.ts';
import { connectSsh, type ExecOptions, type Ssh } from '../../../worker-agent/guest/ssh.ts';
import type { SshTarget } from '../../../worker-agent/guest/ssh-handshake.ts';
import { testWith } from '../../set-up/test-with.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';
import { SSHD, startOpenSsh } from '../servers/openssh-server.ts';

/** One real SSH server for the file: a guest whose home and root are a folder that we can look into. */
let server: Awaited<ReturnType<typeof startOpenSsh>>;
let target: SshTarget;
let ssh: Ssh;
beforeAll(async () => {
  if (SSHD) server = await startOpenSsh();
});
afterAll(() => server?.[Symbol.asyncDispose]());

const onServer = testWith('sshd');

/** Declares a test for a free key, and one for a key that is tied to vm-ssh-gate. */
function onGuest(sentence: string, check: () => Promise<void>): void {
  for (const way of ['free', 'tied'] as const)
    onServer(`${way} key: ${sentence}`, async () => {
      target = way === 'free' ? server.target : server.tied;
      await using connection = await connectSsh(target);
      ssh = connection;
      await check();
    });
}

const run = (command: guest.GuestCommand, options: Partial<ExecOptions> = {}) =>
  ssh.exec(command, { timeoutMs: 30_000, ...options });
let builds = 0;
const newKey = () => ({ buildId: `b${++builds}`, attempt: 1 });
const stateOf = (key: AttemptKey) => join(server.home, '.tartbeat', stateName(key));

/** A guest with an unpacked source of these files. */
async function withSource(files: Record<string, string>) {
  const key = newKey();
  using dir = temporaryDir();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir.path, name)), { recursive: true });
    writeFileSync(join(dir.path, name), text);
  }
  const { stdout } = await execa('tar', ['-czf', '-', '-C', dir.path, '.'], { encoding: 'buffer' });
  const archive = Buffer.from(stdout);
  await run(guest.prepareBuild(key));
  const result = await run(guest.unpackSource({ ...key, archiveBytes: archive.length }), { stdin: archive });
  expect(result).toMatchObject({ exitCode: 0, stderr: '' });
  return key;
}

const statusOf = async (key: AttemptKey) =>
  answers.parseBuildStatus((await run(guest.buildStatus(key))).stdout.toString());
const untilEnded = (key: AttemptKey) =>
  until(async () => {
    const status = await statusOf(key);
    return status?.state === 'ended' || status?.state === 'lost' ? status : null;
  }, 'the build has ended');
const logOf = async () => (await run(guest.readLog(0, 1_000_000))).stdout.toString();

test('whatever text is quoted, a shell reads back the same', async () => {
  const texts = fc.sample(fc.string({ unit: 'binary', maxLength: 40 }), 60).map((text) => text.replaceAll('\0', ''));
  const { stdout } = await execa('sh', ['-c', `printf '%s\\0' ${texts.map(shellQuote).join(' ')}`], {
    stripFinalNewline: false,
  });
  expect(stdout.split('\0').slice(0, -1)).toEqual(texts.map((text) => text.toWellFormed()));
});

test('arguments that no honest caller passes are refused before any guest sees them', () => {
  const key = { buildId: 'b', attempt: 1 };
  const monitor = { ...key, controllerUrl: 'http://c', workerId: 'w', token: 't', intervalSeconds: 30 };
  const refused: (() => unknown)[] = [
    () => stateName({ buildId: '../x', attempt: 1 }),
    () => stateName({ buildId: '..', attempt: 1 }),
    () => stateName({ buildId: '', attempt: 1 }),
    () => stateName({ buildId: 'b', attempt: 0 }),
    () => stateName({ buildId: 'b', attempt: 1.5 }),
    () => guest.startMonitor({ ...monitor, controllerUrl: 'file:///etc/passwd' }),
    () => guest.startMonitor({ ...monitor, controllerUrl: '-oops' }),
    () => guest.startMonitor({ ...monitor, token: 'two\nlines' }),
    () => guest.startMonitor({ ...monitor, intervalSeconds: Number.NaN }),
    () => guest.startBuild({ ...key, command: 'a\0b', env: {} }),
    () => guest.startBuild({ ...key, command: 'a', env: { 'A;B': '1' } }),
    () => guest.startBuild({ ...key, command: 'a', env: { A: '\0' } }),
    () => guest.readLog(-1, 10),
    () => guest.readLog(0, Number.POSITIVE_INFINITY),
    () => guest.readFile({ ...key, path: '/etc/passwd' }),
    () => guest.readFile({ ...key, path: 'a/../../b' }),
    () => guest.packFiles({ ...key, paths: ['../x'] }),
    () => guest.listFiles({ ...key, roots: ['..'] }),
    () => guest.packFolder({ ...key, path: 'a/../..' }),
    () => guest.writeSecretFile({ ...key, path: '../x', content: Buffer.from('') }),
    () => guest.writeSecretFile({ ...key, path: 'a/./b', content: Buffer.from('') }),
    () => guest.unpackSource({ ...key, archiveBytes: 0 }),
  ];
  for (const attempt of refused) expect(attempt, attempt.toString()).toThrow(GuestArgumentError);
});

test('secrets are on no command line', () => {
  const key = { buildId: 'b', attempt: 1 };
  const monitor = guest.startMonitor({
    ...key,
    controllerUrl: 'http://c',
    workerId: 'w',
    token: 'hunter2',
    intervalSeconds: 30,
  });
  const build = guest.startBuild({ ...key, command: 'make hunter2', env: { KEY: 'hunter2' } });
  const file = guest.writeSecretFile({ ...key, path: 'k.p8', content: Buffer.from('hunter2') });
  const { version } = ownScripts();
  for (const command of [monitor, build, file]) expect(command.text(version)).not.toContain('hunter2');
  expect(String(monitor.input) + String(build.input)).toContain('hunter2');
});

test('df is understood as macOS and Linux print it, wrapped too', () => {
  const mac = `Filesystem     1024-blocks     Used Available Capacity iused     ifree %iused  Mounted on
/dev/disk3s1s1   482797652 10444208 120000000     9%  404167 1200000000    0%   /\n`;
  const wrapped = `Filesystem 1K-blocks Used Available Use% Mounted on
/dev/mapper/a-very-long-device-name
               1000 400 600 40% /\n`;
  expect(answers.parseDiskFree(mac)?.availableBytes).toBe(120_000_000 * 1024);
  expect(answers.parseDiskFree(wrapped)).toEqual({ totalBytes: 1000 * 1024, availableBytes: 600 * 1024 });
  expect(answers.parseDiskFree('df: no such thing')).toBeNull();
});

test('MAC addresses compare equal with and without leading zeros', () => {
  expect(answers.normaliseMac('A:b:0C:d:e:f')).toBe('0a:0b:0c:0d:0e:0f');
  expect(answers.normaliseMac('aa:bb:cc:dd:ee')).toBeNull();
  expect(answers.normaliseMac('aa:bb:cc:dd:ee:ff:00')).toBeNull();
  const ifconfig = 'en0: flags=8863<UP>\n\tether 7e:1:2:3:4:5 \n\tinet 192.168.64.7 netmask 0xffffff00\nlo0: flags=1\n';
  expect(answers.parseMacAddresses(ifconfig)).toEqual(['7e:01:02:03:04:05']);
});

test('an answer to buildStatus that was cut short is no answer', () => {
  expect(answers.parseBuildStatus('')).toEqual({ state: 'not_started' });
  expect(answers.parseBuildStatus('alive=1\nexit=\n')).toBeNull();
  expect(answers.parseBuildStatus('alive=0\nexit=\nsize=7\n')).toEqual({
    ...{ state: 'lost', logBytes: 7, restarted: false },
  });
  expect(answers.parseBuildStatus('alive=1\nexit=0\nsize=7\n')).toEqual({
    ...{ state: 'ended', exitCode: 0, logBytes: 7, restarted: false },
  });
  expect(answers.parseBuildStatus('alive=0\nexit=143\nrestarted=1\nsize=0\n')).toEqual({
    ...{ state: 'ended', exitCode: 143, logBytes: 0, restarted: true },
  });
  expect(answers.parseBuildStatus('alive=0\nexit=\nrestarted=1\n')).toBeNull();
});

test('the status of a running build tells what it uses, if the guest can tell', () => {
  const running = (usage: string) => answers.parseBuildStatus(`alive=1\nexit=\nrestarted=0\n${usage}size=7\n`);
  const state = { state: 'running', logBytes: 7 };
  expect(running('sampled=100\ncpu=2500\nbytes=70\n')).toEqual({
    ...{ ...state, usage: { atMs: 100_000, cpuMs: 2_500, networkBytes: 70 } },
  });
  expect(running('sampled=100\ncpu=2500\nbytes=\n')).toMatchObject({ usage: { networkBytes: null } });
  expect(running('')).toEqual({ ...state, usage: null });
  expect(answers.parseBuildStatus('alive=1\nexit=\nsampled=100\ncpu=25')).toBeNull();
});

onGuest('the simple checks answer as the parsers expect', async () => {
  expect((await run(guest.echoAlive())).stdout.toString()).toBe('alive\n');
  expect(answers.parseDiskFree((await run(guest.diskFree())).stdout.toString())!.availableBytes).toBeGreaterThan(0);
  const seconds = Number((await run(guest.readClock())).stdout);
  expect(Math.abs(seconds - Date.now() / 1000)).toBeLessThan(60);
  expect((await run(guest.hasCurl())).stdout.toString()).toContain('curl');
  expect((await run(guest.hasMonitor())).exitCode).toBe(1);
  expect((await run(guest.evidence())).stdout.toString()).toMatch(/## disk[\s\S]*## processes/);
});

onGuest('a build runs detached in its source, with its environment, and leaves log and exit code', async () => {
  const key = await withSource({ 'where.txt': 'the source\n' });
  expect(await statusOf(key)).toEqual({ state: 'not_started' });
  const command =
    'cat where.txt; echo "$VALUE|$CI|$TARTBEAT_BUILD_ID|$TARTBEAT_ATTEMPT|$TARTBEAT_STATE"; shopt login_shell; exit 5';
  const value = 'it\'s $HOME "quoted"\nand two lines';
  expect(await run(guest.startBuild({ ...key, command, env: { VALUE: value } }))).toMatchObject({ exitCode: 0 });
  expect(await untilEnded(key)).toMatchObject({ state: 'ended', exitCode: 5 });
  expect(await logOf()).toBe(`the source\n${value}|1|${key.buildId}|1|${stateOf(key)}\nlogin_shell    \ton\n`);
});

onGuest('a build survives the connection that started it', async () => {
  const key = await withSource({ a: '' });
  const first = await connectSsh(target);
  const command = 'echo begin; sleep 0.5; echo end';
  await first.exec(guest.startBuild({ ...key, command, env: {} }), { timeoutMs: 30_000 });
  first.close();
  expect(await untilEnded(key)).toMatchObject({ state: 'ended', exitCode: 0 });
  expect(await logOf()).toBe('begin\nend\n');
});

onGuest('what the account uses is told before the start of a build and while it runs', async () => {
  const key = await withSource({ a: '' });
  const before = answers.parseUsage((await run(guest.buildUsage(key))).stdout.toString());
  expect(before).toMatchObject({ cpuMs: expect.any(Number), networkBytes: expect.any(Number) });
  await run(guest.startBuild({ ...key, command: 'while [ ! -e go ]; do sleep 0.1; done', env: { A: 'b' } }));
  expect(await statusOf(key)).toMatchObject({ state: 'running', usage: { networkBytes: expect.any(Number) } });
  const listed = (await run(guest.buildProcesses(key))).stdout.toString();
  const processes = parseProcesses(listed, (text) => text)!;
  // The account also has the processes of other tests. The build's come first, and the agent's own are left
  // out.
  expect(processes[0]!.command).toMatch(/^sleep 0\.1$|build\.sh( start .*)?$/);
  const own = listed.split('\n').filter((line) => line.includes(server.home) && line.includes('evidence.sh'));
  expect(own).toEqual([]);
  writeFileSync(join(stateOf(key), 'source/go'), '');
  await untilEnded(key);
});

onGuest('starting the same build again changes nothing', async () => {
  const key = await withSource({ a: '' });
  const start = guest.startBuild({ ...key, command: 'echo once >>count', env: {} });
  expect((await run(start)).exitCode).toBe(0);
  await untilEnded(key);
  expect((await run(start)).exitCode).toBe(0);
  expect((await run(guest.readFile({ ...key, path: 'count' }))).stdout.toString()).toBe('once\n');
});

onGuest('half a command, from a connection that dropped, is not run', async () => {
  const key = await withSource({ a: '' });
  const start = guest.startBuild({ ...key, command: 'rm -rf build-dir-and-more', env: {} });
  const result = await run(start, { stdin: start.input!.subarray(0, -10) });
  expect(result.exitCode).toBe(3);
  expect(await statusOf(key)).toEqual({ state: 'not_started' });
});

onGuest('the script with the secrets is gone while the build runs', async () => {
  const key = await withSource({ a: '' });
  const command = 'ls "$TARTBEAT_STATE"; umask';
  await run(guest.startBuild({ ...key, command, env: { SECRET: 'x' } }));
  await untilEnded(key);
  const log = await logOf();
  expect(log).not.toContain('build.sh');
  expect(log).toContain('0022');
});

onGuest('a killed build is ended or lost, never running, with the children of its group', async () => {
  const key = await withSource({ a: '' });
  await run(guest.startBuild({ ...key, command: "trap '' TERM; sleep 300 & echo $!; wait; sleep 300", env: {} }));
  const child = await until(async () => /^(\d+)\n/.exec(await logOf())?.[1], 'the child has said its pid');
  expect(await statusOf(key)).toMatchObject({ state: 'running' });
  expect((await run(guest.killBuild(key))).exitCode).toBe(0);
  expect((await untilEnded(key)).state).toBe('lost');
  await until(() => !isAlive(Number(child)), 'the child is gone');
});

onGuest('the log is read from any offset, and past its end there is nothing', async () => {
  const key = await withSource({ a: '' });
  await run(guest.startBuild({ ...key, command: 'printf 0123456789', env: {} }));
  expect(await untilEnded(key)).toMatchObject({ logBytes: 10 });
  const read = async (offset: number, max: number) => (await run(guest.readLog(offset, max))).stdout.toString();
  expect(await read(0, 4)).toBe('0123');
  expect(await read(4, 100)).toBe('456789');
  expect(await read(10, 100)).toBe('');
  expect(await read(99, 100)).toBe('');
});

onGuest('a truncated or broken archive is told from a good one', async () => {
  const key = newKey();
  const bytes = Buffer.from('this is no archive at all, however one reads it');
  const truncated = await run(guest.unpackSource({ ...key, archiveBytes: bytes.length + 1 }), { stdin: bytes });
  expect(truncated.exitCode).toBe(answers.UNPACK_TRUNCATED);
  const refused = await run(guest.unpackSource({ ...key, archiveBytes: bytes.length }), {
    stdin: Readable.from([bytes]),
  });
  expect(refused.exitCode).toBe(answers.UNPACK_REFUSED);
});

onGuest('files are listed with their sizes, whatever they are called, and packed as they are', async () => {
  const names = {
    'dist/app.ipa': 'ipa',
    "dist/it's\na name": 'xy',
    'dist/ü -x': '',
    'node_modules/m/a.ipa': 'no',
    top: '1',
  };
  const key = await withSource(names);
  symlinkSync('/etc', join(stateOf(key), 'source', 'dist', 'link'));
  const list = async (...roots: string[]) =>
    answers
      .parseFileList((await run(guest.listFiles({ ...key, roots }))).stdout)!
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  const dist = [
    { path: 'dist/app.ipa', sizeBytes: 3 },
    { path: "dist/it's\na name", sizeBytes: 2 },
    { path: 'dist/ü -x', sizeBytes: 0 },
  ];
  expect(await list('dist')).toEqual(dist);
  expect(await list('.')).toEqual([...dist, { path: 'top', sizeBytes: 1 }]);
  expect(await list('absent')).toEqual([]);

  const paths = dist.map(({ path }) => path);
  const packed = await run(guest.packFiles({ ...key, paths }));
  using dir = temporaryDir();
  await execa('tar', ['-xf', '-', '-C', dir.path], { input: packed.stdout });
  for (const path of paths) expect(readFileSync(join(dir.path, path), 'utf8')).toBe(names[path as keyof typeof names]);
  expect((await run(guest.readFile({ ...key, path: paths[1]! }))).stdout.toString()).toBe('xy');
});

onGuest('a listing that cannot be made is an error, not an empty one', async () => {
  const key = await withSource({ top: '1' });
  const find = join(server.home, 'bin/find');
  mkdirSync(dirname(find), { recursive: true });
  writeFileSync(find, '#!/bin/sh\nexit 126\n', { mode: 0o755 });
  try {
    expect((await run(guest.listFiles({ ...key, roots: ['.'] }))).exitCode).toBe(1);
  } finally {
    rmSync(find);
  }
});

onGuest('the monitor runs detached, reads its token from standard input, and stops when told', async () => {
  const monitor = join(server.home, 'usr/local/bin/vm-monitor.sh');
  mkdirSync(dirname(monitor), { recursive: true });
  writeFileSync(
    monitor,
    '#!/bin/sh\nread -r token\necho "$@ token=$token state=$TARTBEAT_STATE"\nwhile :; do sleep 0.1; done\n',
    { mode: 0o755 },
  );
  expect((await run(guest.hasMonitor())).stdout.toString()).toBe(`${monitor}\n`);
  const key = newKey();
  expect((await run(guest.monitorAlive(key))).exitCode).not.toBe(0);
  const options = {
    ...key,
    controllerUrl: 'http://192.168.64.1:3000/',
    workerId: 'w-1',
    token: 'tb_vm_x',
    intervalSeconds: 0.5,
  };
  const started = await run(guest.startMonitor(options));
  expect(started).toMatchObject({ exitCode: 0, stderr: '' });
  const log = await until(async () => (await run(guest.monitorLog(key))).stdout.toString(), 'the monitor has printed');
  expect(log).toBe(`http://192.168.64.1:3000 ${key.buildId} w-1 - 0.5 token=tb_vm_x state=${stateOf(key)}\n`);
  expect((await run(guest.monitorAlive(key))).exitCode).toBe(0);
  expect((await run(guest.stopMonitor(key))).exitCode).toBe(0);
  expect((await run(guest.monitorAlive(key))).exitCode).not.toBe(0);

  await run(guest.startMonitor(options));
  await run(guest.startMonitor(options));
  const groups = async () => {
    const { stdout } = await execa('ps', ['-axo', 'pid=,ppid=,pgid=,args=']);
    const shown = stdout
      .split('\n')
      .filter((line) => line.includes(`${monitor} `) && line.includes(` ${key.buildId} w-1`));
    const monitors = shown.map((line) => line.trim().split(/ +/, 3));
    const pids = monitors.map(([pid]) => pid);
    // A child of the monitor looks like the monitor until it becomes `sleep`.
    return monitors.filter(([, parent]) => !pids.includes(parent!)).map(([, , group]) => group);
  };
  const latest = readFileSync(join(stateOf(key), 'monitor.pgid'), 'utf8').trim();
  await until(async () => `${await groups()}` === latest, 'only the monitor that was started last runs');
  await run(guest.stopMonitor(key));
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

onGuest('secret files are there for the build alone, and gone after it with the keychain', async () => {
  const key = await withSource({ 'a.txt': '' });
  const bytes = Buffer.from([0, 255, 10, 13, 39]);
  for (const name of ['dist.p12', 'AuthKey_1.p8'])
    expect(await run(guest.writeSecretFile({ ...key, path: name, content: bytes }))).toMatchObject({ exitCode: 0 });
  const command =
    'ls -l "$TARTBEAT_SECRETS" | cut -c1-10; od -An -tx1 "$TARTBEAT_SECRETS/dist.p12"; : >"$TARTBEAT_STATE/keychain"';
  await run(guest.startBuild({ ...key, command, env: {} }));
  await untilEnded(key);
  expect(await logOf()).toMatch(/-rw-------\n-rw-------\n 00 ff 0a 0d 27\n$/);
  mkdirSync(join(server.home, 'usr/local/bin'), { recursive: true });
  writeFileSync(join(server.home, 'usr/local/bin/keychain'), '#!/bin/sh\necho "$1" >"$TARTBEAT_STATE/asked"\n', {
    mode: 0o755,
  });
  for (const _ of [1, 2]) expect(await run(guest.removeSecrets(key))).toMatchObject({ exitCode: 0 });
  expect(readFileSync(join(stateOf(key), 'asked'), 'utf8')).toBe('delete\n');
  await expect(run(guest.removeSecrets(key))).resolves.toMatchObject({ exitCode: 0 });
  expect(existsSync(join(stateOf(key), 'secrets'))).toBe(false);
});

onGuest('a folder is packed with its links, twice the same', async () => {
  const key = await withSource({ 'out/App.app/Info.plist': 'x', 'out/App.app/-odd name/y': 'y' });
  symlinkSync('Info.plist', join(stateOf(key), 'source/out/App.app/link'));
  const pack = async () => (await run(guest.packFolder({ ...key, path: 'out/App.app' }))).stdout;
  const [first, second] = [await pack(), await pack()];
  expect(first.equals(second)).toBe(true);
  const { stdout } = await execa('tar', ['-tzf', '-'], { input: first });
  expect(stdout.split('\n').sort()).toEqual([
    './App.app/',
    './App.app/-odd name/',
    './App.app/-odd name/y',
    './App.app/Info.plist',
    './App.app/link',
  ]);
});
