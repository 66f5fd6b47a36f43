/** Tests what a run of provision.sh and each of its steps do, and how they end. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { outcomesOf, SIGNAL_AT_THE_END, standInMac, VM_IMAGE } from '../factories/stand-in-mac.ts';
import {
  authorizedKeys,
  guestScripts,
  inShells,
  KEY_BODY,
  keyFile,
  mode,
  NAMES,
  step,
  version,
} from './provisioning.ts';

/**
 * Every command of a step that changes something, with a word that the message must have when the command
 * fails. A step without commands cannot apply anything.
 */
const FAILURES: Record<string, readonly (readonly [command: string, only?: string])[]> = {
  'sudo-rule': [['visudo'], ['chown']],
  disk: [],
  authorities: [],
  'xcode-download': [],
  'authorised-key': [['sudo']],
  'remote-login': [],
  'known-hosts': [['sudo']],
  monitor: [['chown'], ['sudo']],
  curl: [],
  'restrict-key': [],
  'private-networks': [],
  power: [
    ['pmset', 'displaysleep'],
    ['pmset', '-a sleep'],
  ],
  'screen-saver': [['defaults'], ['sudo'], ['defaults', '/Library/Preferences/com.apple.screensaver']],
  'software-updates': [['softwareupdate'], ['defaults', 'CriticalUpdateInstall']],
  'time-sync': [['systemsetup']],
  'command-line-tools': [],
  xcode: [['xcode-select'], ['xcodebuild', '-license'], ['xcodebuild', '-runFirstLaunch']],
  homebrew: [['git'], ['chown'], ['sudo']],
  'build-shell': [['sudo']],
  node: [
    ['brew', 'install'],
    ['brew', 'link'],
  ],
  mise: [['brew', 'mise']],
  'eas-cli': [['npm']],
  'expo-engine': [['npm']],
  ruby: [['brew', 'install ruby']],
  fastlane: [['gem', 'fastlane']],
  cocoapods: [['gem', 'cocoapods']],
  'apple-certificates': [
    ['curl', 'AppleWWDRCAG3.cer'],
    ['security', 'AppleWWDRCAG3.cer'],
    ['curl', 'AppleWWDRCAG6.cer'],
    ['security', 'AppleWWDRCAG6.cer'],
  ],
  image: [['chown']],
};

const processes = () => execFileSync('ps', ['-A', '-o', 'args='], { encoding: 'utf8' });

inShells(({ shell, holds, inDetail }) => {
  holds(
    'makes a fresh image fit, says what it found, and changes nothing when it runs again',
    async () => {
      using mac = standInMac(shell);
      const args = ['--key-file', keyFile(mac)];
      const looked = await mac.guest('provision.sh', ['--check', ...args]);
      expect(looked.status).toBe(1);
      expect(Object.keys(outcomesOf(looked)).sort()).toEqual([...NAMES].sort());
      expect(mac.calls()).toEqual([]);

      const first = await mac.guest('provision.sh', args);
      expect(first.status, first.stdout + first.stderr).toBe(0);
      expect(outcomesOf(first)).toMatchObject({
        power: 'changed',
        curl: 'ok',
        cocoapods: 'changed',
        disk_space: 'pass',
      });
      expect(first.stdout).toMatch(/^changed +power +sleep 0, displaysleep 0$/m);
      expect(first.stdout).toMatch(/^This VM is fit\.$/m);
      expect(mac.calls()).toEqual(
        expect.arrayContaining([
          'pmset -a sleep 0',
          'pmset -a displaysleep 0',
          'systemsetup -f -setremotelogin on',
          'softwareupdate --schedule off',
          'xcodebuild -license accept',
          'brew install node@24',
        ]),
      );

      expect(readFileSync(join(mac.root, 'etc/sudoers.d/tartbeat'), 'utf8')).toBe(
        'admin ALL=(root) NOPASSWD: /bin/date, /sbin/shutdown, /sbin/pfctl -F all -E -f /usr/local/share/tartbeat/guest/kept.conf\n',
      );
      expect(mode(join(mac.root, 'etc/sudoers.d/tartbeat'))).toBe('440');
      expect(readFileSync(authorizedKeys(mac), 'utf8')).toBe(
        `no-port-forwarding,no-X11-forwarding,no-agent-forwarding ssh-ed25519 ${KEY_BODY} tartbeat\n`,
      );
      expect([mode(authorizedKeys(mac)), mode(join(mac.home, '.ssh'))]).toEqual(['600', '700']);
      for (const program of ['vm-monitor.sh', 'send_heartbeat', 'keychain', 'vm-ssh-gate', 'tartbeat-verify'])
        expect(mode(join(mac.root, 'usr/local/bin', program))).toBe('755');
      expect(guestScripts(mac)).toEqual([version]);
      expect(mode(join(mac.home, '.tartbeat/guest', version, 'log.sh'))).toBe('755');

      const before = mac.contents();
      const second = await mac.guest('provision.sh', args);
      expect(second.status).toBe(0);
      expect(second.stdout).toMatch(/^0 step\(s\) changed$/m);
      expect(mac.calls()).toEqual([]);
      expect(mac.contents()).toEqual(before);
    },
    600_000,
  );

  inDetail(
    'each step: a command that fails is named, nothing is claimed, and a later run completes it',
    async () => {
      using mac = standInMac(shell);
      const key = keyFile(mac);
      for (const name of NAMES) {
        // The key is an argument of provision.sh; the steps get it from the environment.
        if (name === 'authorised-key') {
          mac.fail('sudo');
          const refused = await mac.guest('provision.sh', ['--only', name, '--key-file', key]);
          expect([refused.status, outcomesOf(refused)[name]], refused.stdout).toEqual([1, 'failed']);
          mac.repair();
          expect((await mac.guest('provision.sh', ['--only', name, '--key-file', key])).status).toBe(0);
          continue;
        }
        for (const [command, only] of FAILURES[name]!) {
          mac.fail(command, only);
          const failed = await step(mac, name);
          expect([failed.status, failed.word], `${name}, ${command} fails: ${failed.stdout}`).toEqual([1, 'failed']);
          expect(failed.detail).toContain(command);
          expect(failed.stdout).toMatch(/^fix: ./m);
          mac.repair();
          expect((await step(mac, name, ['--check'])).word, `${name} after ${command} failed`).toBe('missing');
        }
        const applied = await step(mac, name);
        expect([applied.status, applied.word], `${name}: ${applied.stdout}${applied.stderr}`).toEqual([
          0,
          FAILURES[name]!.length > 0 || name === 'remote-login' ? 'changed' : 'ok',
        ]);
        const again = await step(mac, name);
        expect([again.status, again.word, again.detail]).toEqual([0, 'ok', applied.detail]);
      }
      expect(mac.calls().filter((call) => call.startsWith('UNEXPECTED'))).toEqual([]);
    },
    600_000,
  );

  inDetail('a command that only looks and fails is a finding, never a pass', async () => {
    using mac = standInMac(shell);
    for (const [name, command] of [
      ['power', 'pmset'],
      ['remote-login', 'launchctl'],
      ['authorised-key', 'dscl'],
      ['curl', 'curl'],
      ['time-sync', 'systemsetup'],
      ['software-updates', 'defaults'],
    ] as const) {
      mac.break(command);
      const looked = await step(mac, name, ['--check']);
      expect([looked.status, looked.word], `${name} without ${command}`).toEqual([1, 'missing']);
      const applied = await step(mac, name);
      expect([applied.status, applied.word], `${name} without ${command}`).toEqual([1, 'failed']);
      mac.repair();
    }
  });

  holds('stops at the first step that failed and does not touch what comes after', async () => {
    using mac = standInMac(shell);
    mac.fail('pmset');
    const outcome = await mac.guest('provision.sh', ['--key-file', keyFile(mac)]);
    expect(outcome.status).toBe(1);
    expect(outcomesOf(outcome)).toMatchObject({ monitor: 'changed', power: 'failed' });
    expect(outcomesOf(outcome)).not.toHaveProperty('screen-saver');
    expect(outcome.stdout).toContain("'pmset -a sleep 0' failed with exit code 7");
    expect(outcome.stdout).not.toMatch(/fit|step\(s\) changed/);
    expect(outcome.stderr).toContain('run it again');
    expect(mac.calls().join('\n')).not.toContain('defaults');
  });

  holds('refuses wrong arguments, and to change anything without root', async () => {
    using mac = standInMac(shell);
    for (const [args, message] of [
      [['--only', 'nosuch'], "there is no step 'nosuch'; the steps are: sudo-rule"],
      [['--user', 'root'], 'builds do not run as root'],
      [['--user', 'a;b'], 'plain account name'],
      [['--key-file', '/nonexistent'], 'cannot be read'],
      [['--key-file'], '--key-file needs a value'],
      [['--frobnicate'], "unknown option '--frobnicate'"],
    ] as const) {
      const outcome = await mac.guest('provision.sh', [...args]);
      expect(outcome.status).toBe(64);
      expect(outcome.stderr).toContain(message);
    }
    const outcome = await mac.guest('provision.sh', [], { user: 'admin' });
    expect([outcome.status, outcome.stdout]).toEqual([77, '']);
    expect(outcome.stderr).toContain('sudo sh ');
    const alone = await step(mac, 'power', [], 'admin');
    expect([alone.status, alone.word]).toEqual([1, 'failed']);
    expect(alone.detail).toContain('needs root');
    expect((await step(mac, 'power', ['--frobnicate'])).status).toBe(64);
    expect(mac.calls()).toEqual([]);
  });

  holds('a command has a limit, and its whole family ends with it', async () => {
    using mac = standInMac(shell);
    // No other test on this machine sleeps for so long.
    const seconds = `61.${process.pid}`;
    const script = mac.file(
      'limit.sh',
      `. '${VM_IMAGE}/provision/lib.sh'
       within 20 sh -c 'exit 5'; echo "code $?"
       echo from-above | within 20 cat; echo "code $?"
       within 1 sh -c 'trap "" TERM; sleep ${seconds} & wait; sleep ${seconds}'; echo "code $?"
       ps -A -o args= | grep -c '[s]leep ${seconds}'`,
    );
    const { stdout } = await mac.guest(script);
    expect(stdout.trim().split('\n')).toEqual(['code 5', 'from-above', 'code 0', 'code 124', '0']);
  });

  // Only bash runs a trap between two commands.
  if (shell === 'bash')
    holds('a signal that comes before the id of a child is saved ends the child too', async () => {
      using mac = standInMac(shell);
      const seconds = `62.${process.pid}`;
      const script = mac.file(
        'early.sh',
        `. '${VM_IMAGE}/provision/lib.sh'
         trap 'on_signal 130' INT
         set -T
         trap '[ "$BASH_COMMAND" != "within_pid=\\$!" ] || kill -INT $$' DEBUG
         within 60 sleep ${seconds} >/dev/null 2>&1
         echo goes on`,
      );
      expect(await mac.guest(script)).toMatchObject({ status: 130, stdout: '' });
      await vi.waitFor(() => expect(processes()).not.toContain(`sleep ${seconds}`), { timeout: 20_000 });
    });

  holds('a second signal, to the whole group, saves no command from the first', async () => {
    using mac = standInMac(shell);
    const seconds = `63.${process.pid}`;
    // The signal comes at each `sh` that the script starts.
    rmSync(mac.file('bin/sh'));
    writeFileSync(mac.file('bin/sh'), `#!/bin/${shell}\nkill -INT $$; exec /bin/${shell} "$@"\n`, { mode: 0o755 });
    const script = mac.file(
      'twice.sh',
      `. '${VM_IMAGE}/provision/lib.sh'
       trap 'on_signal 130' INT
       exec >/dev/null 2>&1
       within 60 /bin/sh -c "kill -INT $$; exec sleep ${seconds}"
       exit 1`,
    );
    expect((await mac.guest(script)).status).toBe(130);
    await vi.waitFor(() => expect(processes()).not.toContain(`sleep ${seconds}`), { timeout: 20_000 });
  });

  // Only bash runs a trap between two commands.
  if (shell === 'bash')
    for (const name of ['provision.sh', 'verify.sh'])
      holds(`${name}: a signal that meets it while it cleans up leaves nothing`, async () => {
        using mac = standInMac(shell);
        const late = mac.file('late.sh', SIGNAL_AT_THE_END);
        const command = `BASH_ENV='${late}' exec bash '${VM_IMAGE}/${name}' --only power`;
        const { stdout } = await mac.guest(mac.file('run.sh', command));
        expect(stdout).toMatch(/ power /);
        expect(readdirSync(mac.file('.')).filter((file) => file.startsWith('tartbeat'))).toEqual([]);
      });

  holds('a child that is ended as it begins does not clean up for the whole script', async () => {
    using mac = standInMac(shell);
    const script = mac.file(
      'trap.sh',
      `. '${VM_IMAGE}/provision/lib.sh'
       trap '! in_script || echo cleaned up' EXIT
       for _ in 1 2 3 4 5 6 7 8 9 10; do
         (while :; do sleep 1; done) & kill -USR2 $!
         wait $!
       done
       echo all ended`,
    );
    const { stdout } = await mac.guest(script);
    expect(stdout).toBe('all ended\ncleaned up\n');
  });
});
