/** Tests with which guest scripts a VM's commands run: the decision, and over a real SSH server. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseScriptsSeen } from '../../../worker-agent/guest/answers.ts';
import { diskFree, installScripts, readLog, whichScripts } from '../../../worker-agent/guest/commands.ts';
import { askScripts, problemOf, settleScripts } from '../../../worker-agent/guest/installation.ts';
import {
  chooseScripts,
  inWordsOf,
  ownScripts,
  parseTable,
  readScripts,
  speaks,
  type VmScripts,
} from '../../../worker-agent/guest/scripts.ts';
import { connectSsh } from '../../../worker-agent/guest/ssh.ts';
import { testWith } from '../../set-up/test-with.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { startOpenSsh } from '../servers/openssh-server.ts';

const onGuest = testWith('sshd');
const signal = new AbortController().signal;
const HASH = '0123456789abcdef';
const OTHER = 'fedcba9876543210';
const mine = `3-${HASH}`;
const { version, folder } = ownScripts();
const none = (): VmScripts => ({ seen: null, version: null });

test.each([
  // A free key: its own version, whatever the image has.
  [false, [], { choice: 'install', version: mine }],
  [false, [`3-${OTHER}`], { choice: 'install', version: mine }],
  [false, [`2-${OTHER}`, mine], { choice: 'use', version: mine }],
  [false, [`9-${OTHER}`], { choice: 'install', version: mine }],
  // A tied key: the image's, of this number or the one before.
  [true, [mine], { choice: 'use', version: mine }],
  [true, [`3-${OTHER}`], { choice: 'use', version: `3-${OTHER}` }],
  [true, [`2-${OTHER}`], { choice: 'use', version: `2-${OTHER}` }],
  [true, [`1-${OTHER}`], { choice: 'older' }],
  [true, [`4-${OTHER}`], { choice: 'newer' }],
  [true, [], { choice: 'older' }],
] as const)('tied: %s, the VM has %j: %j', (tied, versions, choice) => {
  expect(chooseScripts({ tied, versions }, mine)).toEqual(choice);
});

test('an agent speaks its own number and the one before', () => {
  expect([1, 2, 3, 4].map((number) => speaks(`${number}-${OTHER}`, mine))).toEqual([false, true, true, false]);
  for (const text of ['', '3', `3-${HASH}x`, `../3-${HASH}`, `0-${HASH}`, `3-${HASH}\n`, `3-${HASH.toUpperCase()}`])
    expect(speaks(text, mine), text).toBe(false);
  expect(inWordsOf(version, 'log read', ['1', '2'])).toEqual(['log read', '1', '2']);
  expect(() => inWordsOf(`99-${OTHER}`, 'log read', [])).toThrow('does not speak');
});

test('the answer says what a VM has; what is no version is none, and what is no answer is null', () => {
  const seen = (stdout: string, exitCode = 0) => parseScriptsSeen({ exitCode, stdout: Buffer.from(stdout) });
  const path = (name: string) => `/Users/admin/.tartbeat/guest/${name}/table`;
  expect(seen('alive\n', 1)).toEqual({ tied: false, versions: [] });
  expect(seen(`alive\n${path(mine)}\n${path(`2-${OTHER}`)}\n`)).toEqual({
    tied: false,
    versions: [mine, `2-${OTHER}`],
  });
  expect(seen(`alive\n${path('$(id)')}\n${path(`${mine};id`)}\n${path('..')}\ntable\n`)).toEqual({
    tied: false,
    versions: [],
  });
  expect(seen(`alive\nvm-ssh-gate\n~/.tartbeat/guest/${mine}/table\n`)).toEqual({ tied: true, versions: [mine] });
  // A gate from before there were guest scripts.
  expect(seen('', 126)).toEqual({ tied: true, versions: [] });
  expect(seen('This account is currently not available.\n', 1)).toBeNull();
  expect(seen('', 1)).toBeNull();
});

test('what a tied image is too old or too new for is told with the command that helps', () => {
  const now = Number(version.split('-')[0]);
  expect(problemOf({ tied: true, versions: [version] })).toBeNull();
  expect(problemOf({ tied: false, versions: [] })).toBeNull();
  const problems = [
    problemOf({ tied: true, versions: [] }),
    problemOf({ tied: true, versions: [`${now + 1}-${OTHER}`] }),
  ];
  expect(problems.map((problem) => problem!.detail)).toEqual([
    expect.stringContaining('has no guest scripts'),
    expect.stringContaining('newer than this agent'),
  ]);
  for (const problem of problems) expect(problem!.fix).toContain('expo-worker base-image --force --restrict-key');
});

test('a command says what it needs before it is sent: known scripts, a row of the table, its kinds', () => {
  expect(() => diskFree().text(null)).toThrow('before its guest scripts were known');
  expect(diskFree().text(version)).toBe(`exec ~/.tartbeat/guest/${version}/checks.sh 'disk'`);
  expect(() => parseTable('log read surprise')).toThrow('unknown kind');
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'version'), 'latest\n');
  expect(() => readScripts(dir.path)).toThrow('holds no version');
});

/** A guest without scripts, a connection to it, and what the connection is asked. */
async function bareGuest(key: 'free' | 'tied' = 'free') {
  const server = await startOpenSsh({ scripts: false });
  const scripts = none();
  const ssh = await connectSsh({ ...(key === 'free' ? server.target : server.tied), scripts });
  const asked: string[] = [];
  const exec: typeof ssh.exec = (command, options) => {
    asked.push(command.name);
    return ssh.exec(command, options);
  };
  return {
    home: server.home,
    place: join(server.home, '.tartbeat/guest', version),
    ssh: { exec },
    scripts,
    asked,
    async [Symbol.asyncDispose]() {
      ssh.close();
      await server[Symbol.asyncDispose]();
    },
  };
}
const filesOf = (path: string) =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name))]));

onGuest('scripts that a guest lacks are installed once, and its commands run with them', async () => {
  await using guest = await bareGuest();
  const { ssh, scripts } = guest;
  const seen = await askScripts(ssh, signal);
  expect(seen).toEqual({ tied: false, versions: [] });
  expect(await settleScripts(ssh, scripts, seen, signal)).toBe(`${version}, installed: the image has none`);
  expect(filesOf(guest.place)).toEqual(filesOf(folder));
  expect(readdirSync(join(guest.home, '.tartbeat'))).toEqual(['guest']);
  expect((await ssh.exec(diskFree(), { timeoutMs: 30_000 })).exitCode).toBe(0);

  guest.asked.length = 0;
  const again = none();
  expect(await settleScripts(ssh, again, await askScripts(ssh, signal), signal)).toBe(version);
  expect(guest.asked).toEqual(['which scripts']);
  // Once chosen, they stay.
  expect(await settleScripts(ssh, again, { tied: false, versions: [] }, signal)).toBe(version);
});

onGuest('scripts of other versions stay beside those that are installed', async () => {
  await using guest = await bareGuest();
  const other = join(guest.home, '.tartbeat/guest', `1-${OTHER}`);
  mkdirSync(other, { recursive: true });
  writeFileSync(join(other, 'table'), '');
  const seen = await askScripts(guest.ssh, signal);
  expect(seen.versions).toEqual([`1-${OTHER}`]);
  expect(await settleScripts(guest.ssh, guest.scripts, seen, signal)).toContain(`the image has 1-${OTHER}`);
  expect([...(await askScripts(guest.ssh, signal)).versions].sort()).toEqual([version, `1-${OTHER}`].sort());
});

onGuest('what arrives cut short or as something else is not installed', async () => {
  await using guest = await bareGuest();
  const install = async (archive: Buffer) => {
    const { exitCode } = await guest.ssh.exec(installScripts({ version, archive }), { timeoutMs: 30_000 });
    return exitCode;
  };
  expect(await install(Buffer.from(''))).not.toBe(0);
  expect(await install(Buffer.from('no archive'))).not.toBe(0);
  const whole = execFileSync('tar', ['-cf', '-', '-C', folder, '.']);
  for (const part of [0.2, 0.4, 0.6]) expect(await install(whole.subarray(0, part * whole.length))).not.toBe(0);
  expect(existsSync(join(guest.home, '.tartbeat/guest'))).toBe(false);
  expect(readdirSync(join(guest.home, '.tartbeat'))).toEqual([]);
  // A home that cannot be written.
  rmSync(join(guest.home, '.tartbeat'), { recursive: true });
  writeFileSync(join(guest.home, '.tartbeat'), '');
  await expect(settleScripts(guest.ssh, guest.scripts, { tied: false, versions: [] }, signal)).rejects.toThrow(
    'could not be installed in the VM (exit code 1)',
  );
  expect(guest.scripts.version).toBeNull();
});

onGuest('nothing is installed over a tied key, and a NUL reaches neither gate nor scripts', async () => {
  await using guest = await bareGuest('tied');
  expect(await askScripts(guest.ssh, signal)).toEqual({ tied: true, versions: [] });
  const archive = Buffer.from('');
  expect((await guest.ssh.exec(installScripts({ version, archive }), { timeoutMs: 30_000 })).exitCode).toBe(126);
  guest.scripts.version = version;
  const hostile = { ...readLog(0, 1), text: () => `${readLog(0, 1).text(version)}\0; touch "$HOME/hacked"` };
  await guest.ssh.exec(hostile, { timeoutMs: 30_000 }).catch(() => {});
  expect(existsSync(join(guest.home, 'hacked'))).toBe(false);
  expect(whichScripts().text(null)).not.toContain('\0');
});
