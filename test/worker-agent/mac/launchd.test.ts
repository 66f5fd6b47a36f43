/** Tests the agent under launchd: reads property lists, and records the calls of a stand-in for launchctl. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { parse } from 'plist';
import { expect, onTestFinished, test } from 'vitest';
import { LogFile } from '../../../worker-agent/agent/log-file.ts';
import { logsCommand } from '../../../worker-agent/commands/logs.ts';
import { changeConfig, saveConfig } from '../../../worker-agent/config.ts';
import { ImagesFile } from '../../../worker-agent/images/images-file.ts';
import { madeWithOf, readMadeWith, writeMadeWith } from '../../../worker-agent/images/made-with.ts';
import { firstState } from '../../../worker-agent/images/roll-out.ts';
import { accountOf } from '../../../worker-agent/mac/account.ts';
import { keepAwake } from '../../../worker-agent/mac/keep-awake.ts';
import { type JobKind, type JobOptions, type jobOf, LABEL, plistOf } from '../../../worker-agent/mac/launchd-plist.ts';
import { installJob, readJobs, uninstallJob } from '../../../worker-agent/mac/launchd-service.ts';
import { tartUserOf } from '../../../worker-agent/mac/run-as.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { standInMac } from '../factories/stand-in-mac.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const job = (kind: JobKind, change: Partial<JobOptions> = {}): JobOptions => ({
  kind,
  account: { name: 'admin', uid: 501, home: '/Users/admin' },
  nodePath: '/opt/homebrew/bin/node',
  scriptPath: '/opt/homebrew/bin/expo-worker',
  configPath: '/Users/admin/.expo-worker/config.json',
  exitTimeoutSeconds: 9_000,
  ...change,
});
const signal = new AbortController().signal;

test('the daemon: root, tart as the account, restarted always, never slowed, and waited for longer than a build', () => {
  const read = parse(plistOf(job('daemon'))) as ReturnType<typeof jobOf>;
  expect(read).toEqual({
    Label: LABEL,
    ProgramArguments: [
      '/opt/homebrew/bin/node',
      '/opt/homebrew/bin/expo-worker',
      'run',
      '--config',
      '/Users/admin/.expo-worker/config.json',
      '--log-file',
      '/Users/admin/.expo-worker/agent.log',
    ],
    EnvironmentVariables: {
      HOME: '/Users/admin',
      USER: 'admin',
      PATH: '/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
      EXPO_WORKER_TART_USER: 'admin',
      EXPO_WORKER_TART_UID: '501',
    },
    WorkingDirectory: '/Users/admin',
    RunAtLoad: true,
    KeepAlive: true,
    ThrottleInterval: 10,
    AbandonProcessGroup: true,
    ExitTimeOut: 9_000,
    ProcessType: 'Interactive',
    Umask: 0o077,
    StandardOutPath: '/dev/null',
    StandardErrorPath: '/Users/admin/.expo-worker/agent-errors.log',
  });
  expect(read.ExitTimeOut).toBeGreaterThan(7_200);
});

test('the agent: of the account, in its desktop session, and tart needs nobody else', () => {
  const read = parse(plistOf(job('agent'))) as Record<string, unknown>;
  expect(read).toMatchObject({ LimitLoadToSessionType: 'Aqua', ProcessType: 'Interactive', KeepAlive: true });
  expect(read.EnvironmentVariables).not.toHaveProperty('EXPO_WORKER_TART_USER');
});

test('what is special in XML stays what it is', () => {
  const configPath = '/Users/admin/<a> & "b"/config.json';
  const read = parse(plistOf(job('agent', { configPath }))) as { ProgramArguments: string[] };
  expect(read.ProgramArguments).toContain(configPath);
});

/**
 * A launchctl that remembers what is loaded. A job that was unloaded still shows for `busy` further calls.
 */
const LAUNCHCTL = `
service=$(echo "$2" | tr / _)
case $1 in
  print) if [ -e "$dir/going" ]; then
      n=$(cat "$dir/going"); if [ "$n" -gt 0 ]; then echo $((n - 1)) >"$dir/going"; echo "	pid = 77"; exit 0; fi
      rm -f "$dir/going" "$dir/loaded_$service"
    fi
    [ -e "$dir/loaded_$service" ] || { echo "Could not find service" >&2; exit 113; }
    printf '\\tstate = running\\n\\tpid = 77\\n\\tlast exit code = 0\\n' ;;
  bootout) cat "$dir/busy" >"$dir/going" 2>/dev/null || rm -f "$dir/loaded_$service"; exit 36 ;;
  bootstrap) [ -e "$dir/refuse" ] && { echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; }
    touch "$dir/loaded_\${service}_${LABEL}" ;;
esac`;

async function installable(uid: number) {
  const stand = standInMac({ uid });
  stand.command('launchctl', LAUNCHCTL);
  const configPath = join(stand.dir, 'home/.expo-worker/config.json');
  const ssh = join(stand.dir, 'key');
  saveConfig(configPath, {
    vmName: 'v',
    vmUser: 'u',
    vmSshKey: ssh,
    controllerUrl: 'https://builds.example.com',
    apiKey: 'tb_worker_12345678',
  });
  const account = { name: 'admin', uid: 501, home: '/Users/admin' };
  const waits: number[] = [];
  const acting = { signal, onWaiting: () => waits.push(1) };
  return {
    ...stand,
    stand,
    waits,
    account,
    configPath,
    install: (kind: JobKind, change: Partial<JobOptions> = {}) =>
      installJob(stand.mac, job(kind, { account, configPath, ...change }), acting),
    uninstall: () => uninstallJob(stand.mac, account, { configPath, ...acting }),
    [Symbol.dispose]: () => stand[Symbol.dispose](),
  };
}
const changing = (calls: string[]) => calls.filter((call) => !call.startsWith('launchctl print'));

test('install writes the file, loads it, and finds nothing to do the second time', async () => {
  using mac = await installable(0);
  const { plistPath, changed } = await mac.install('daemon');
  expect(changed).toBe(true);
  expect(plistPath).toBe(join(mac.root, `Library/LaunchDaemons/${LABEL}.plist`));
  expect(statSync(plistPath).mode & 0o777).toBe(0o644);
  expect(changing(mac.calls())).toEqual([
    `launchctl enable system/${LABEL}`,
    `launchctl bootstrap system ${plistPath}`,
  ]);
  const stateDir = join(dirname(mac.configPath), 'state');
  const shared = readdirSync(stateDir).sort();
  const file = new ImagesFile(stateDir, (message) => expect.unreachable(message));
  expect(file.change((states) => ({ ...states, first: firstState('vm') }))).toHaveProperty('first');
  writeMadeWith(stateDir, 'vm', madeWithOf(['--restrict-key']), []);
  expect(readMadeWith(stateDir, 'vm').restrictKey).toBe(true);
  await changeConfig(mac.configPath, { logLevel: 'debug' });
  expect(readdirSync(stateDir).sort(), 'commands of root make no file that the account needs').toEqual(shared);
  // A former release has not made this one.
  rmSync(join(stateDir, 'made-with.lock'));
  expect(await mac.install('daemon')).toEqual({ plistPath, changed: false });
  expect(readdirSync(stateDir).sort()).toEqual(shared);
  expect(changing(mac.calls()).length).toBe(2);
  expect((await readJobs(mac.mac, mac.account))[0]).toMatchObject({ kind: 'daemon', loaded: true, pid: 77 });
});

test('a changed job waits until the agent has finished its build, then is loaded anew', async () => {
  using mac = await installable(0);
  await mac.install('daemon');
  writeFileSync(join(mac.dir, 'busy'), '5');
  const { plistPath } = await mac.install('daemon', { exitTimeoutSeconds: 12_345 });
  expect(mac.waits.length).toBe(1);
  expect(changing(mac.calls()).slice(2)).toEqual([
    `launchctl bootout system/${LABEL}`,
    `launchctl enable system/${LABEL}`,
    `launchctl bootstrap system ${plistPath}`,
  ]);
  expect((parse(readFileSync(plistPath, 'utf8')) as { ExitTimeOut: number }).ExitTimeOut).toBe(12_345);
});

test('a refused bootstrap is told in its own words', async () => {
  using mac = await installable(501);
  writeFileSync(join(mac.dir, 'refuse'), '');
  await expect(mac.install('agent')).rejects.toThrow(/launchctl bootstrap gui\/501 .*Input\/output error/);
});

test('who may install which, and never both', async () => {
  using user = await installable(501);
  await expect(user.install('daemon')).rejects.toThrow('`sudo expo-worker install`, or choose --launch-agent');
  using root = await installable(0);
  await expect(root.install('agent')).rejects.toThrow('without sudo');
  await root.install('daemon');
  using other = standInMac({ uid: 501, root: root.root });
  other.command('launchctl', 'exit 113');
  const options = job('agent', { account: root.account, configPath: root.configPath });
  await expect(installJob(other.mac, options, { signal, onWaiting: () => {} })).rejects.toThrow(
    'already installed as a LaunchDaemon. Run `sudo expo-worker uninstall` first',
  );
  await expect(
    installJob({ ...root.mac, platform: 'linux' }, options, { signal, onWaiting: () => {} }),
  ).rejects.toThrow('launchd is a part of macOS');
});

test('a broken config installs nothing', async () => {
  using mac = await installable(0);
  writeFileSync(mac.configPath, '{}');
  await expect(mac.install('daemon')).rejects.toThrow('vmName: missing');
  expect(mac.calls()).toEqual([]);
});

test('uninstall unloads and removes, and the second time there is nothing', async () => {
  using mac = await installable(0);
  const { plistPath } = await mac.install('daemon');
  expect(await mac.uninstall()).toEqual([plistPath]);
  expect(existsSync(plistPath)).toBe(false);
  expect(existsSync(mac.configPath)).toBe(true);
  expect(changing(mac.calls()).at(-1)).toBe(`launchctl bootout system/${LABEL}`);
  expect(await mac.uninstall()).toEqual([]);
});

test('nothing is installed or removed while launchctl does not say what is loaded', async () => {
  using mac = await installable(0);
  const { plistPath } = await mac.install('daemon');
  const before = changing(mac.calls());
  mac.command('launchctl', 'kill -KILL $$');
  await expect(mac.uninstall()).rejects.toThrow('launchctl did not answer whether the agent is loaded');
  await expect(mac.install('daemon', { exitTimeoutSeconds: 12_345 })).rejects.toThrow('launchctl did not answer');
  expect(changing(mac.calls())).toEqual(before);
  expect((parse(readFileSync(plistPath, 'utf8')) as { ExitTimeOut: number }).ExitTimeOut).toBe(9_000);
});

test('the account is looked up, and is never root', async () => {
  using stand = standInMac({ user: 'root' });
  stand.command('id', '[ "$2" = build ] && echo 502');
  stand.command('dscl', 'echo "NFSHomeDirectory: /Volumes/Data/build"');
  expect(await accountOf(stand.mac, 'build')).toEqual({ name: 'build', uid: 502, home: '/Volumes/Data/build' });
  await expect(accountOf(stand.mac, 'nobody-here')).rejects.toThrow('there is no account nobody-here');
  await expect(accountOf(stand.mac)).rejects.toThrow('--user');
});

test('only root on a Mac hands tart over, to a plain account', () => {
  const env = { EXPO_WORKER_TART_USER: 'admin', EXPO_WORKER_TART_UID: '501' };
  expect(tartUserOf('darwin', 0, env)).toEqual({ name: 'admin', uid: 501 });
  expect(tartUserOf('darwin', 0, { SUDO_USER: 'me', SUDO_UID: '502' })).toEqual({ name: 'me', uid: 502 });
  expect(tartUserOf('darwin', 501, env)).toBeNull();
  expect(tartUserOf('linux', 0, env)).toBeNull();
  expect(tartUserOf('darwin', 0, {})).toBeNull();
  expect(tartUserOf('darwin', 0, { SUDO_USER: 'root', SUDO_UID: '0' })).toBeNull();
  expect(tartUserOf('darwin', 0, { SUDO_USER: '-u x', SUDO_UID: '5' })).toBeNull();
});

test('handed over, tart is started in the session and with the rights of the account', async () => {
  using dir = temporaryDir();
  const through = (name: string, script: string) => {
    writeFileSync(join(dir.path, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return join(dir.path, name);
  };
  // Each stand-in checks its own words, and runs the words that follow them.
  const launchctl = through('launchctl', '[ "$1 $2" = "asuser 501" ] || exit 9; shift 2; exec "$@"');
  const sudo = through('sudo', 'case "$*" in "-n -H -u admin -- "*) shift 5; exec "$@" ;; esac; exit 8');
  const tartPath = through('tart', 'echo "$*" >"$0.args"; echo "$TART_HOME" >"$0.home"; echo 2.33.0');
  const user = { name: 'admin', uid: 501, commands: { launchctl, sudo } };
  const tart = createTart({ tartPath, tartHome: join(dir.path, 'vms here'), user });
  expect(await tart.version()).toEqual({ ok: true, version: '2.33.0' });
  expect(readFileSync(`${tartPath}.home`, 'utf8')).toBe(`${join(dir.path, 'vms here')}\n`);
  const started = await tart.startRun('vm 1', { logFile: join(dir.path, 'run.log') });
  await until(() => readFileSync(`${tartPath}.args`, 'utf8').startsWith('run vm 1 --no-graphics'), 'tart run');
  expect(started.ok || started.kind).toBeTruthy();
});

test('caffeinate lives as long as the agent, on a Mac only', async () => {
  using stand = standInMac();
  stand.command('caffeinate', 'exec sleep 60');
  {
    using _awake = keepAwake(stand.mac, 4242);
    await until(() => stand.calls().length > 0, 'caffeinate is called');
    expect(stand.calls()).toEqual(['caffeinate -i -m -s -w 4242']);
  }
  using elsewhere = standInMac({ platform: 'linux' });
  elsewhere.command('caffeinate', '');
  using _nothing = keepAwake(elsewhere.mac);
  await sleep(50);
  expect(elsewhere.calls()).toEqual([]);
});

test('the log is rotated, and no more than five files are kept', () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'agent.log');
  using file = new LogFile(path, 20);
  for (let line = 0; line < 30; line++) file.write(`line number ${line}\n`);
  expect(readFileSync(path, 'utf8')).toBe('line number 29\n');
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('line number 28\n');
  expect(existsSync(`${path}.4`)).toBe(true);
  expect(existsSync(`${path}.5`)).toBe(false);
});

test('the account may read the log that root writes under the umask of launchd, after a rotation too', () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'agent.log');
  const before = process.umask(0o077);
  onTestFinished(() => void process.umask(before));
  using file = new LogFile(path, 20);
  for (let line = 0; line < 2; line++) file.write(`line number ${line}\n`);
  for (const one of [path, `${path}.1`]) expect(statSync(one).mode & 0o777, one).toBe(0o644);
});

test('a log that cannot be written stops nothing, and goes on when it can', () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'none/agent.log');
  using file = new LogFile(path);
  file.write('lost\n');
  mkdirSync(dirname(path));
  file.write('kept\n');
  expect(readFileSync(path, 'utf8')).toBe('kept\n');
});

test('logs shows the end and follows over a rotation', async () => {
  using dir = temporaryDir();
  const config = join(dir.path, 'config.json');
  const path = join(dir.path, 'agent.log');
  const stop = new AbortController();
  let shown = '';
  const options = { config, lines: 2, signal: stop.signal, write: (text: string) => void (shown += text) };
  await expect(logsCommand({ ...options, follow: false })).rejects.toThrow('Run `sudo expo-worker install`');
  using file = new LogFile(path, 40);
  for (const line of ['one', 'two', 'three']) file.write(`${line}\n`);
  await logsCommand({ ...options, follow: false });
  expect(shown).toBe('two\nthree\n');
  shown = '';
  const following = logsCommand({ ...options, follow: true });
  await until(() => shown === 'two\nthree\n', 'the end');
  file.write('four\n');
  await until(() => shown.endsWith('four\n'), 'what was added');
  file.write('five\n');
  file.write(`${'x'.repeat(39)}\n`);
  await until(() => shown.endsWith('x\n'), 'what is in the next file');
  expect(shown).toBe(`two\nthree\nfour\nfive\n${'x'.repeat(39)}\n`);
  stop.abort();
  await following;
});

test('logs shows each line once, also one that is written while it looks for the end', async () => {
  using dir = temporaryDir();
  const stop = new AbortController();
  using file = new LogFile(join(dir.path, 'agent.log'));
  let written = '';
  let shown = '';
  const log = (line: string) => {
    file.write(line);
    written += line;
  };
  const write = (text: string) => void (shown += text);
  const config = join(dir.path, 'config.json');
  log('line 0\n');
  const following = logsCommand({ config, follow: true, lines: 1_000_000, signal: stop.signal, write });
  for (let number = 1; shown === ''; number++) {
    await nextTurn();
    log(`line ${number}\n`);
  }
  log('the end\n');
  await until(() => shown.endsWith('the end\n'), 'the last line');
  expect(shown === written).toBe(true);
  stop.abort();
  await following;
});

test('run --log-file writes there, with dates, and prints nothing', async () => {
  using dir = temporaryDir();
  const config = join(dir.path, 'config.json');
  const settings = {
    vmName: 'v',
    vmUser: 'u',
    vmSshKey: '/k',
    controllerUrl: 'http://127.0.0.1:9',
    apiKey: 'tb_worker_x',
  };
  writeFileSync(config, JSON.stringify(settings), { mode: 0o600 });
  const log = join(dir.path, 'agent.log');
  const script = new URL('../../../worker-agent/expo-worker.ts', import.meta.url).pathname;
  const agent = execa(process.execPath, [script, 'run', '--config', config, '--log-file', log], { reject: false });
  await until(() => existsSync(log), 'a line', 30_000);
  agent.kill('SIGTERM');
  const { stdout, exitCode } = await agent;
  expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 0 });
  expect(readFileSync(log, 'utf8')).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d ! controller not reached/);
});
