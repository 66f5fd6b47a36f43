/**
 * Tests kept.sh, which makes a VM fit to be kept after a failed attempt: in each shell, with real processes
 * and files, and with stand-ins for sudo and pfctl.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseFilesDeleted } from '../../../worker-agent/guest/answers.ts';
import { ownScripts } from '../../../worker-agent/guest/scripts.ts';
import { testWith } from '../../set-up/test-with.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { until } from '../../worker-agent/factories/until.ts';
import { SHELLS, type Shell } from '../factories/guest-script.ts';

const { folder } = ownScripts();
const SECRET = 'hunter22-secret';
const KEY = ['b-1', 'b', '1'];
const MAC_FILE = 'var/tmp/tartbeat-kept-mac';

/** A VM after a failed build: its `/` is a folder, and sudo and pfctl write down what they were asked. */
function failedVm(shell: Shell) {
  const dir = temporaryDir();
  const root = dir.path;
  const home = join(root, 'Users/admin');
  const state = join(home, '.tartbeat/b-1');
  const bin = join(root, 'bin');
  for (const path of [join(state, 'source'), join(root, 'tmp'), join(root, 'var/tmp'), bin])
    mkdirSync(path, { recursive: true });
  const standIn = (name: string, lines: string) => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${lines}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  standIn('sudo', '[ "$1" = -n ] && shift && exec "$@"');
  standIn('pfctl', `echo "$*" >>'${root}/pfctl'`);
  const env = {
    PATH: `${bin}:/usr/bin:/bin:/usr/sbin:/sbin`,
    HOME: home,
    TARTBEAT_ROOT: root,
    SSH_CONNECTION: '192.168.64.1 50123 192.168.64.7 22',
  };
  return {
    ...dir,
    root,
    home,
    state,
    standIn,
    env,
    write(path: string, text: string) {
      mkdirSync(join(root, path, '..'), { recursive: true });
      writeFileSync(join(root, path), text);
    },
    read: (path: string) => (existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : null),
    clean(texts = `${SECRET}\n`, bytes = texts.length, changed: Record<string, string> = {}) {
      const args = [join(folder, 'kept.sh'), 'clean', ...KEY, String(bytes), '10'];
      const { status, stdout, stderr } = spawnSync(shell, args, {
        env: { ...env, ...changed },
        input: texts,
        encoding: 'utf8',
        timeout: 60_000,
      });
      return { status, deleted: parseFilesDeleted(stdout), stderr };
    },
  };
}

for (const shell of SHELLS) {
  const declare = testWith(shell);
  const holds = (sentence: string, check: () => void | Promise<void>) => declare(`${shell}: ${sentence}`, check);

  holds(
    'files of secrets, the raw log and all changed files with a secret go; no link out of the home is followed',
    () => {
      using vm = failedVm(shell);
      using outside = temporaryDir();
      writeFileSync(join(outside.path, 'file'), SECRET);
      symlinkSync(outside.path, join(vm.state, 'source/link'));
      const source = 'Users/admin/.tartbeat/b-1/source';
      vm.write('tmp/build.log', `${SECRET}\n`);
      vm.write('Users/admin/.tartbeat/b-1/secrets/key.p8', SECRET);
      vm.write('Users/admin/.tartbeat/b-1/secret-paths', 'key.p8\n');
      vm.write(`${source}/key.p8`, SECRET);
      vm.write(`${source}/-odd $(name)\n'file`, `x\n${SECRET}`);
      vm.write(`${source}/locked/file`, `\0binary\xff${SECRET}\0`);
      vm.write('var/tmp/left', `export TOKEN=${SECRET}`);
      vm.write(`${source}/app.txt`, 'no secret');
      vm.write('Users/admin/.tartbeat/b-1/build.sh', 'rest of a script');
      chmodSync(join(vm.root, source, 'locked/file'), 0);
      chmodSync(join(vm.root, source, 'locked'), 0);
      expect(vm.clean()).toEqual({ status: 0, deleted: 3, stderr: '' });
      expect(spawnSync('grep', ['-rlaF', SECRET, vm.root], { encoding: 'utf8' }).stdout).toBe('');
      expect(vm.read(`${source}/app.txt`)).toBe('no secret');
      expect(vm.read('Users/admin/.tartbeat/b-1/build.sh')).toBeNull();
      expect(readFileSync(join(outside.path, 'file'), 'utf8')).toBe(SECRET);
      // The agent repeats its command if the answer is lost.
      expect(vm.clean()).toEqual({ status: 0, deleted: 0, stderr: '' });
    },
  );

  holds(
    'the network is cut by the rules of the image, as sudo wants; the agent alone is let in, whatever its file had',
    () => {
      using vm = failedVm(shell);
      vm.write('elsewhere', 'left alone');
      symlinkSync(join(vm.root, 'elsewhere'), join(vm.root, MAC_FILE));
      expect(vm.clean('').status).toBe(0);
      expect(vm.read(MAC_FILE)).toBe('192.168.64.1\n');
      expect(vm.read('elsewhere')).toBe('left alone');
      // Acts as a process of the build that still ran when the network was cut for the first time.
      const file = join(vm.root, MAC_FILE);
      vm.standIn(
        'pfctl',
        `echo "$*" >>'${vm.root}/pfctl'; cat '${file}' >>'${vm.root}/seen'; echo 192.168.64.9 >'${file}'`,
      );
      vm.write('usr/local/share/tartbeat/guest/kept.conf', '');
      expect(vm.clean('').status).toBe(0);
      expect(vm.read('seen')).toBe('192.168.64.1\n192.168.64.1\n');
      // An image of an earlier version has no rules.
      const loaded = (rules: string) => `-F all -E -f ${rules}\n`;
      expect(vm.read('pfctl')).toBe(
        loaded(join(folder, 'kept.conf')).repeat(2) +
          loaded(`${vm.root}/usr/local/share/tartbeat/guest/kept.conf`).repeat(2),
      );
      for (const said of [
        '',
        '   ',
        'fe80::1 5 fe80::2 22',
        '1.2.3',
        '1.2.3.4.5',
        '1..2.3',
        '!1.2.3.4 1',
        '1.2.3.4/0 1 2 22',
      ])
        expect(vm.clean('', 0, { SSH_CONNECTION: said })).toMatchObject({
          ...{ status: 1, stderr: expect.stringMatching(/^the network could not be cut: SSH does not say/) },
        });
    },
  );

  holds('a VM whose network cannot be cut is not clean, and says why', () => {
    using vm = failedVm(shell);
    vm.standIn('sudo', 'echo "sudo: a password is required" >&2; exit 1');
    expect(vm.clean()).toEqual({
      status: 1,
      deleted: 0,
      stderr: 'the network could not be cut: sudo: a password is required\n',
    });
  });

  holds('texts that arrive cut short delete nothing', () => {
    using vm = failedVm(shell);
    vm.write('tmp/file', 'no secret');
    expect(vm.clean('hunt', 15)).toMatchObject({ status: 3, deleted: 0 });
    expect(vm.read('tmp/file')).toBe('no secret');
  });
}

testWith('bash')(
  'the monitor, the group of the build and what has left the group are ended',

  async () => {
    using vm = failedVm('bash');
    const env = { ...vm.env, TARTBEAT_STATE: vm.state };
    const start = (command: string) => spawn('bash', ['-c', command], { env, detached: true, stdio: 'ignore' });
    // The daemon is no longer a child of the build, and has a session of its own.
    const build = start(`(setsid sleep 300 & echo $! >'${vm.root}/daemon'); trap '' TERM; sleep 300; sleep 300`);
    const monitor = start('sleep 300; true');
    await until(() => vm.read('daemon') !== null && vm.read('daemon') !== '', 'the daemon runs', 30_000);
    vm.write('Users/admin/.tartbeat/b-1/build.pgid', `${build.pid}\n`);
    vm.write('Users/admin/.tartbeat/b-1/monitor.pgid', `${monitor.pid}\n`);
    const ended = [build, monitor].map((child) => once(child, 'exit'));
    expect(vm.clean('')).toEqual({ status: 0, deleted: 0, stderr: '' });
    await Promise.all(ended);
    const daemon = Number(vm.read('daemon'));
    const stateOf = () => spawnSync('ps', ['-o', 'stat=', '-p', String(daemon)], { encoding: 'utf8' }).stdout.trim();
    await until(() => /^(Z.*)?$/.test(stateOf()), 'the daemon is gone', 30_000);
  },
);

/** The ids that are counted as the build's, where `ps` prints this. The build began 100 s ago. */
function listed(processes: string) {
  using dir = temporaryDir();
  const bin = join(dir.path, 'bin');
  mkdirSync(bin);
  mkdirSync(join(dir.path, 'state/started'), { recursive: true });
  const began = Date.now() / 1_000 - 100;
  spawnSync('touch', ['-d', `@${began}`, join(dir.path, 'state/started')]);
  writeFileSync(join(dir.path, 'ps'), processes);
  // Columns: pid ppid pgid uid etime ucomm; or pid pgid stat.
  writeFileSync(
    join(bin, 'ps'),
    `#!/bin/sh\ncase $* in *etime*) cat '${dir.path}/ps' ;; *stat=*) awk '{ print $1, $3, "S" }' '${dir.path}/ps' ;; esac\n`,
  );
  writeFileSync(join(bin, 'id'), '#!/bin/sh\necho 501\n');
  for (const name of ['ps', 'id']) chmodSync(join(bin, name), 0o755);
  const parts = ['lib', 'activity', 'expo-leftovers', 'kept-processes'].map((name) => `. '${folder}/${name}.sh'`);
  const script = [...parts, 'list_marked() { :; }', `state='${dir.path}/state'`, 'list_processes_of_build'].join('\n');
  const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: dir.path };
  const { status, stdout } = spawnSync('bash', ['-c', script], { env, encoding: 'utf8' });
  return { status, ids: stdout.trim().split('\n').filter(Boolean).map(Number).sort() };
}

testWith('bash')('in a real VM, whatever the account has started since the build began counts as the build’s', () => {
  expect(
    listed(`  1     0     1     0 01:00:00 launchd
 10     1    10   501    05:00 loginwindow
 11     1    11   501    05:01 tart-guest-agent
 12     1    12   501    01:30 Daemon with blanks
 13     1    13     0    00:05 root
 14     1    14   501 1-00:00:00 Finder
 20     1    20     0    00:04 sshd-session
 21    20    21   501    00:04 kept
 22    21    21   501    00:00 awk
 30    12    30   501    00:01 java
`),
  ).toEqual({ status: 0, ids: [12, 30] });
});

testWith('bash')('processes that cannot be listed are not taken for none', () => {
  expect(listed('')).toEqual({ status: 1, ids: [] });
});

test('the rules let in and out what SSH with the Mac and DHCP need, and nothing else', () => {
  const rules = readFileSync(join(folder, 'kept.conf'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  expect(rules).toEqual([
    `table <mac> persist file "/${MAC_FILE}"`,
    'set skip on lo0',
    'block drop all',
    'pass in quick inet proto tcp from <mac> to any port 22 flags any keep state',
    'pass out quick inet proto tcp from any port 22 to <mac> flags any keep state',
    'pass out quick inet proto udp from any port 68 to any port 67 keep state',
    'pass in quick inet proto udp from any port 67 to any port 68 keep state',
  ]);
});
