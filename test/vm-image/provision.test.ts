import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ownScripts } from '../../worker-agent/guest/scripts.ts';
import { testWith } from '../set-up/test-with.ts';
import { isTestedInDetail, SHELLS } from './guest-script.ts';
import { outcomesOf, PUBLIC_KEY, STEPS, type StandInMac, standInMac, VM_IMAGE } from './stand-in-mac.ts';

const KEY_BODY = PUBLIC_KEY.split(' ')[1]!;
const nameOf = (step: string) => step.slice(3, -3);
const NAMES = STEPS.map(nameOf);

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

/** Certificates of an office: a root, one that it issued, that of a host, and a root that has expired. */
function officeCertificates(mac: StandInMac) {
  const path = (name: string) => join(import.meta.dirname, '../fixtures/authorities', `${name}.pem`);
  const text = (name: string) => readFileSync(path(name), 'utf8');
  return {
    ...{ root: path('root'), leaf: path('leaf'), expired: path('old') },
    both: mac.file('both.pem', `${text('root')}some text\n${text('sub')}`),
    withKey: mac.file('with-key.pem', `${text('root')}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`),
    der: mac.file('root.der', '0\u0082 no text'),
  };
}

/** Runs one step alone, as a person would, and returns the word before the colon and the text after it. */
async function step(mac: StandInMac, name: string, args: string[] = [], user: 'admin' | 'root' = 'root') {
  const file = STEPS.find((candidate) => nameOf(candidate) === name)!;
  const outcome = await mac.guest(`provision/${file}`, args, { user });
  const [, word, detail] = /^([a-z]+): (.*)$/m.exec(outcome.stdout) ?? [];
  return { ...outcome, word, detail };
}

const keyFile = (mac: StandInMac, text = `${PUBLIC_KEY}\n`) => mac.file('agent.pub', text);
const authorizedKeys = (mac: StandInMac) => join(mac.home, '.ssh/authorized_keys');
const { version } = ownScripts();
/** The versions that an agent would find. */
const guestScripts = (mac: StandInMac) =>
  readdirSync(join(mac.home, '.tartbeat/guest')).filter((name) =>
    existsSync(join(mac.home, '.tartbeat/guest', name, 'table')),
  );
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

for (const shell of SHELLS) {
  const declare = testWith(shell);
  const holds = (sentence: string, check: () => Promise<void>, timeout = 120_000) =>
    declare(`${shell}: ${sentence}`, { timeout }, check);
  const inDetail = isTestedInDetail(shell) ? holds : () => {};

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

  inDetail(
    'a certificate of Apple that is not the pinned one is not installed, and one that was changed is replaced',
    async () => {
      using mac = standInMac(shell);
      const file = join(mac.root, 'usr/local/share/tartbeat/certificates/AppleWWDRCAG3.cer');
      mac.remember('other-certificate');
      const refused = await step(mac, 'apple-certificates');
      expect(refused).toMatchObject({ status: 1, word: 'failed' });
      expect(refused.detail).toContain('is not the certificate whose SHA-256');
      expect(readdirSync(join(file, '..'))).toEqual([]);
      expect(mac.recall('certificates')).toBeNull();
      mac.forget('other-certificate');
      expect((await step(mac, 'apple-certificates')).word).toBe('changed');
      mac.calls();
      writeFileSync(file, 'changed');
      expect((await step(mac, 'apple-certificates', ['--check'])).detail).toContain(
        'AppleWWDRCAG3.cer does not exist, or',
      );
      expect((await step(mac, 'apple-certificates')).word).toBe('changed');
      expect(mac.calls()).toEqual([expect.stringMatching(/^curl .*G3\.cer$/)]);
      expect(mode(file)).toBe('644');
    },
  );

  inDetail('guest scripts of an earlier version go, before a link could lead to others than it names', async () => {
    using mac = standInMac(shell);
    const links = join(mac.home, '.tartbeat/guest');
    const scripts = join(mac.root, 'usr/local/share/tartbeat/guest');
    mkdirSync(links, { recursive: true });
    mkdirSync(scripts, { recursive: true });
    writeFileSync(join(scripts, 'table'), 'log read count count\n');
    symlinkSync(scripts, join(links, '1-0000000000000000'));
    mac.fail('chown');
    expect((await step(mac, 'monitor')).word).toBe('failed');
    expect(existsSync(links)).toBe(false);
    mac.repair();
    expect((await step(mac, 'monitor')).word).toBe('changed');
    expect(guestScripts(mac)).toEqual([version]);
    // Scripts that an agent has installed in a clone are not reported.
    mkdirSync(join(links, '2-0000000000000000'));
    expect((await step(mac, 'monitor', ['--check'])).word).toBe('ok');
    rmSync(join(links, version));
    expect((await step(mac, 'monitor', ['--check'])).detail).toContain('must have exactly one link');
  });

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

  inDetail('a key tied to a command is replaced, other keys stay, and modes are put right', async () => {
    using mac = standInMac(shell);
    const other = 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDother someone@else';
    mkdirSync(join(mac.home, '.ssh'), { mode: 0o755 });
    writeFileSync(authorizedKeys(mac), `${other}\ncommand="/usr/local/bin/vm-monitor.sh" ${PUBLIC_KEY}`, {
      mode: 0o644,
    });
    chmodSync(mac.home, 0o777);
    const args = ['--only', 'authorised-key', '--key-file', keyFile(mac)];
    const looked = await mac.guest('provision.sh', ['--check', ...args]);
    expect(looked.stdout).toContain('others may write to');
    expect((await mac.guest('provision.sh', args)).status).toBe(0);
    const lines = readFileSync(authorizedKeys(mac), 'utf8').trim().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toBe(other);
    expect(lines[1]).toMatch(/^no-port-forwarding,.* tartbeat$/);
    expect([mode(mac.home), mode(join(mac.home, '.ssh')), mode(authorizedKeys(mac))]).toEqual(['755', '700', '600']);
  });

  inDetail(
    'the key is tied to vm-ssh-gate and untied again, other keys stay; never to a gate that is not there',
    async () => {
      using mac = standInMac(shell);
      const other = `ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDother tartbeat@else`;
      mkdirSync(join(mac.home, '.ssh'), { mode: 0o700 });
      writeFileSync(authorizedKeys(mac), `${other}\n`, { mode: 0o600 });
      const run = (...args: string[]) => mac.guest('provision.sh', ['--only', 'restrict-key', ...args]);
      const lines = () => readFileSync(authorizedKeys(mac), 'utf8').trim().split('\n');
      const looked = async () => (await step(mac, 'restrict-key', ['--check'])).detail;

      expect(await looked()).toContain('has no key of the agent');
      expect((await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac)])).status).toBe(
        0,
      );
      const early = await run('--restrict-key');
      expect([early.status, early.stdout]).toEqual([1, expect.stringContaining('run the step monitor first')]);
      expect(await looked()).toContain('may run any command');

      expect((await step(mac, 'monitor')).word).toBe('changed');
      const tied = `restrict,command="${mac.root}/usr/local/bin/vm-ssh-gate" ssh-ed25519 ${KEY_BODY} tartbeat`;
      for (const word of ['changed', 'ok']) {
        const outcome = await run('--restrict-key');
        expect([outcome.status, outcomesOf(outcome)['restrict-key']], outcome.stdout).toEqual([0, word]);
        expect(lines()).toEqual([other, tied]);
        expect(mode(authorizedKeys(mac))).toBe('600');
      }
      expect(await looked()).toContain('tied to vm-ssh-gate');
      expect((await run()).stdout).toMatch(/^ok +restrict-key +the key is tied/m);
      // Adding the key again changes nothing.
      expect(
        (await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac)])).stdout,
      ).toMatch(/^ok /m);
      rmSync(join(mac.root, 'usr/local/bin/vm-ssh-gate'));
      expect((await step(mac, 'restrict-key', ['--check'])).word).toBe('missing');

      expect((await run('--free-key', '--key-file', keyFile(mac))).status).toBe(0);
      expect(lines()).toEqual([
        other,
        `no-port-forwarding,no-X11-forwarding,no-agent-forwarding ssh-ed25519 ${KEY_BODY} tartbeat`,
      ]);
    },
  );

  inDetail('the host keys of the forges are added to what an image has, and an older mise is upgraded', async () => {
    using mac = standInMac(shell);
    const file = join(mac.home, '.ssh/known_hosts');
    mkdirSync(join(mac.home, '.ssh'), { mode: 0o700 });
    const forges = readFileSync(join(VM_IMAGE, 'guest/known-hosts'), 'utf8')
      .split('\n')
      .filter((line) => /^[a-z]/.test(line));
    writeFileSync(file, `git.example.com ssh-ed25519 AAAA\n${forges[0]}`);
    expect((await step(mac, 'known-hosts', ['--check'])).detail).toContain(`lacks ${forges.length - 1} line(s)`);
    for (const word of ['changed', 'ok']) {
      expect((await step(mac, 'known-hosts')).word).toBe(word);
      const lines = readFileSync(file, 'utf8').trim().split('\n');
      expect(lines).toEqual(['git.example.com ssh-ed25519 AAAA', ...forges]);
    }
    for (const name of ['monitor', 'homebrew', 'build-shell', 'mise']) expect((await step(mac, name)).status).toBe(0);
    mac.remember('mise-version', '2026.8.3');
    expect((await step(mac, 'mise', ['--check'])).detail).toContain('2026.8.3, which is older than 2026.9');
    mac.calls();
    expect((await step(mac, 'mise')).word).toBe('changed');
    expect(mac.calls()).toEqual(['brew upgrade mise']);
  });

  inDetail(
    'the packet filter is off until it is asked for, takes addresses only, and is turned off again',
    async () => {
      using mac = standInMac(shell);
      const rules = join(mac.root, 'etc/tartbeat-packet-filter.conf');
      const job = join(mac.root, 'Library/LaunchDaemons/dev.tartbeat.packet-filter.plist');
      const run = (addresses: string) =>
        mac.guest('provision.sh', ['--only', 'private-networks', '--packet-filter', addresses]);
      expect((await step(mac, 'private-networks')).detail).toContain('the filter is off');
      for (const wrong of ['builds.example.com', '10.0.0.1;reboot', ',', '1.2.3.4,', 'x', 'abc'])
        expect((await run(wrong)).stdout, wrong).toContain('--packet-filter takes addresses');
      expect([existsSync(rules), existsSync(job)]).toEqual([false, false]);
      mac.fail('pfctl');
      expect((await run('192.0.2.7')).status).toBe(1);
      expect(existsSync(rules)).toBe(false);
      mac.repair();
      for (const word of ['changed', 'ok'])
        expect(outcomesOf(await run('192.0.2.7,2001:db8::7'))['private-networks']).toBe(word);
      expect(readFileSync(rules, 'utf8')).toContain('controller = "{ 192.0.2.7, 2001:db8::7 }"');
      expect(readFileSync(job, 'utf8')).toContain(`-f ${rules} &amp;&amp; /sbin/pfctl -E`);
      expect((await step(mac, 'private-networks', ['--check'])).detail).toBe(
        'the filter is on and blocks private networks, except 192.0.2.7, 2001:db8::7',
      );
      expect(outcomesOf(await run('off'))['private-networks']).toBe('changed');
      expect([existsSync(rules), existsSync(job)]).toEqual([false, false]);
    },
  );

  inDetail('what is no public key is never written down', async () => {
    using mac = standInMac(shell);
    for (const [text, message] of [
      ['-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n', 'is a private key'],
      ['ssh-ed25519 AAAA$(reboot)\n', 'characters that keys never have'],
      ['command="sh" ssh-ed25519 AAAA\n', 'does not begin like a public key'],
      ['', 'cannot be read'],
    ] as const) {
      const outcome = await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac, text)]);
      expect(outcome.status, text).toBe(1);
      expect(outcome.stdout).toContain(message);
    }
    const without = await mac.guest('provision.sh', ['--only', 'authorised-key']);
    expect(without.stdout).toContain('give --key-file');
    expect(existsSync(authorizedKeys(mac))).toBe(false);
  });

  inDetail('Remote Login is turned on where systemsetup may not, and for an account outside the group', async () => {
    using mac = standInMac(shell);
    mac.remember('no-full-disk-access');
    mac.remember('ssh-group');
    mac.remember('sshd-disabled');
    const applied = await step(mac, 'remote-login');
    expect([applied.word, applied.detail]).toEqual(['changed', 'sshd is loaded']);
    expect(mac.recall('ssh-group-member')).toBe('yes');
    mac.forget('sshd-loaded');
    mac.fail('launchctl');
    const failed = await step(mac, 'remote-login');
    expect(failed.word).toBe('failed');
    expect(failed.detail).toContain('launchctl enable');
  });

  inDetail('without Xcode the command line tools are installed, Xcode is asked for, and can be left out', async () => {
    using mac = standInMac(shell);
    rmSync(join(mac.root, 'Applications'), { recursive: true });
    mac.remember('no-tools-offered');
    expect((await step(mac, 'command-line-tools')).detail).toContain('offers no Command Line Tools');
    mac.forget('no-tools-offered');
    mac.fail('softwareupdate');
    expect((await step(mac, 'command-line-tools')).detail).toContain('softwareupdate --install');
    mac.repair();
    expect((await step(mac, 'command-line-tools')).word).toBe('changed');
    expect(existsSync(join(mac.root, 'tmp/.com.apple.dt.CommandLineTools.installondemand.in-progress'))).toBe(false);

    const xcode = await step(mac, 'xcode');
    expect([xcode.status, xcode.word]).toEqual([1, 'failed']);
    expect(xcode.stdout).toContain('--skip xcode');
    const skipping = await mac.guest('provision.sh', ['--only', 'xcode', '--skip', 'xcode']);
    expect([skipping.status, outcomesOf(skipping).xcode]).toEqual([0, 'skipped']);
  });

  inDetail('another version of the monitor is noticed and replaced', async () => {
    using mac = standInMac(shell);
    expect((await step(mac, 'monitor')).word).toBe('changed');
    writeFileSync(join(mac.root, 'usr/local/bin/vm-monitor.sh'), '#!/bin/sh\n');
    expect((await step(mac, 'monitor', ['--check'])).detail).toContain('another version');
    expect((await step(mac, 'monitor')).word).toBe('changed');
    writeFileSync(join(mac.root, 'usr/local/share/tartbeat/provision/30-power.sh'), 'exit 0\n');
    expect((await step(mac, 'monitor', ['--check'])).detail).toContain('share/tartbeat is absent or another version');
  });

  inDetail('a Homebrew that is there is kept; a folder in its place is not touched', async () => {
    using mac = standInMac(shell);
    const folder = join(mac.root, 'opt/homebrew');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'something'), '');
    const failed = await step(mac, 'homebrew');
    expect(failed.word).toBe('failed');
    expect(failed.detail).toContain('rmdir');
    expect(existsSync(join(folder, 'something'))).toBe(true);
    rmSync(join(folder, 'something'));
    expect((await step(mac, 'homebrew')).word).toBe('changed');
    mac.remember('brew-version', '5.0.1');
    expect((await step(mac, 'homebrew')).detail).toContain('Homebrew 5.0.1');
  });

  inDetail('the screen saver stays off when a clone gets another serial number', async () => {
    using mac = standInMac(shell);
    expect((await step(mac, 'screen-saver')).word).toBe('changed');
    mac.forget('host-com.apple.screensaver-idleTime');
    expect((await step(mac, 'screen-saver', ['--check'])).word).toBe('ok');
    mac.remember('host-com.apple.screensaver-idleTime', '1200');
    expect((await step(mac, 'screen-saver', ['--check'])).detail).toContain('starts after 1200 s');
  });

  inDetail('two images are told apart by what was put into them, and by nothing that belongs to one Mac', async () => {
    const digest = `sha256:${'0a'.repeat(32)}`;
    const made = async (change: (mac: StandInMac) => unknown, args: string[] = []) => {
      using mac = standInMac(shell);
      mac.remember('brew-version', '6.0.22');
      await change(mac);
      const outcome = await mac.guest('provision.sh', ['--only', 'image', '--base-digest', digest, ...args]);
      expect(outcome.status, outcome.stdout).toBe(0);
      const file = readFileSync(join(mac.root, 'usr/local/share/tartbeat/image'), 'utf8');
      expect(file).toMatch(new RegExp(`^digest=${digest}\nprovisioned=[0-9a-f]{64}\n$`));
      return /provisioned=(.*)/.exec(file)![1]!;
    };
    const filter = (address: string) => (mac: StandInMac) =>
      mac.guest('provision.sh', ['--only', 'private-networks', '--packet-filter', address]);
    const plain = await made(() => {});
    const ofOneMac = await made(async (mac) => {
      await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac)]);
      mac.remember('free-kb', '20000000');
    });
    expect(ofOneMac).toBe(plain);
    const filtered = await made(filter('192.0.2.7'));
    expect(await made(filter('192.0.2.8'))).toBe(filtered);
    const withXcode = await made((mac) => step(mac, 'xcode'));
    const withHomebrew = await made((mac) => step(mac, 'homebrew'));
    expect(new Set([plain, filtered, withXcode, withHomebrew]).size).toBe(4);
  });

  inDetail('an image that was changed later says so, and knows which steps were left out', async () => {
    using mac = standInMac(shell);
    const folder = join(mac.root, 'usr/local/share/tartbeat');
    const provision = () =>
      mac.guest(
        'provision.sh',
        NAMES.filter((name) => name !== 'image').flatMap((name) => ['--skip', name]),
      );
    await provision();
    expect(readFileSync(join(folder, 'image'), 'utf8')).toMatch(/^digest=\nprovisioned=/);
    expect(readFileSync(join(folder, 'provisioned'), 'utf8')).toContain(
      `skipped ${NAMES.filter((name) => name !== 'image')
        .sort()
        .join(' ')}\n`,
    );
    expect(await step(mac, 'image', ['--check'])).toMatchObject({
      word: 'ok',
      detail: expect.stringContaining('digest unknown'),
    });
    // Without --skip the image decides, for the steps and for what verify.sh looks at.
    const again = await mac.guest('provision.sh');
    expect(again.status, again.stdout).toBe(0);
    const { image, ...others } = outcomesOf(again);
    expect([image, new Set(NAMES.map((name) => others[name]))]).toEqual(['ok', new Set(['skipped', undefined])]);
    const xip = mac.file('Xcode.xip', 'xar!27.0');
    const fromFile = outcomesOf(await mac.guest('provision.sh', ['--check', '--xcode-file', xip]));
    expect([fromFile['xcode-download'], fromFile.xcode, fromFile.ruby]).toEqual(['missing', 'missing', 'skipped']);
    const all = outcomesOf(await mac.guest('provision.sh', ['--check', '--skip', 'none']));
    expect(NAMES.filter((name) => all[name] === 'skipped')).toEqual([]);
    const report = (...args: string[]) => mac.guest('verify.sh', ['--json', ...args], { user: 'admin' });
    const statusOf = async (...args: string[]) =>
      JSON.parse((await report(...args)).stdout).checks.find(({ id }: { id: string }) => id === 'eas_cli');
    expect(await statusOf()).toMatchObject({ status: 'skipped', detail: 'this image leaves it out' });
    expect(await statusOf('--skip', 'none')).toMatchObject({ status: 'fail' });
    expect((await step(mac, 'xcode')).word).toBe('changed');
    expect((await step(mac, 'image', ['--check'])).detail).toContain('now xcode Xcode 26.6 Build version 17F113');
    expect((await step(mac, 'image')).word).toBe('changed');
    expect(readFileSync(join(folder, 'provisioned'), 'utf8')).toContain('skipped apple-certificates');
    // The step monitor replaces the folder, and keeps what is not its own.
    expect((await step(mac, 'monitor')).word).toBe('changed');
    expect((await step(mac, 'image', ['--check'])).word).toBe('ok');
    for (const wrong of ['sha256:00', `sha256:${'X'.repeat(64)}`, 'latest'])
      expect((await mac.guest('provision.sh', ['--only', 'image', '--base-digest', wrong])).stdout).toContain(
        '--base-digest must be',
      );
  });

  inDetail('macOS gets the whole disk, and a disk that is smaller than was asked for is a finding', async () => {
    using mac = standInMac(shell);
    const disk = (...args: string[]) => mac.guest('provision.sh', ['--only', 'disk', ...args]);
    mac.remember('container-kb', '48828125');
    expect((await step(mac, 'disk', ['--check'])).detail).toBe('macOS has 50 GB of a disk of 140 GB');
    for (const [fails, message] of [
      ['repairDisk', 'diskutil repairDisk'],
      ['resizeContainer', "'diskutil apfs resizeContainer disk0s2 0' failed with exit code 7"],
    ] as const) {
      mac.fail('diskutil', fails);
      const failed = await step(mac, 'disk');
      expect(failed).toMatchObject({ word: 'failed', detail: expect.stringContaining(message) });
      expect(failed.stdout).toContain('Recovery partition');
    }
    mac.repair();
    mac.calls();
    expect(outcomesOf(await disk('--disk-gb', '140')).disk).toBe('changed');
    expect(mac.calls()).toEqual(['diskutil repairDisk disk0', 'diskutil apfs resizeContainer disk0s2 0']);
    expect((await step(mac, 'disk', ['--check'])).detail).toBe('macOS has 139 GB of a disk of 140 GB');
    expect((await disk('--check', '--disk-gb', '200')).stdout).toContain('the disk has 140 GB, not 200 GB');
    const verified = await mac.guest('verify.sh', ['--only', 'disk', '--disk-gb', '200']);
    expect([verified.status, outcomesOf(verified).disk]).toEqual([1, 'fail']);
  });

  inDetail(
    'authorities of one’s own are trusted by the system and by builds, and what is none is refused',
    async () => {
      using mac = standInMac(shell);
      const pki = officeCertificates(mac);
      const run = (...files: string[]) =>
        mac.guest('provision.sh', ['--only', 'authorities', ...files.flatMap((file) => ['--ca', file])]);
      const folder = join(mac.root, 'usr/local/share/tartbeat/authorities');
      for (const [file, message] of [
        [pki.withKey, 'holds a private key'],
        [pki.leaf, 'is no certificate authority'],
        [pki.der, 'holds no certificate in PEM form'],
        [pki.expired, 'has expired'],
        [mac.file('broken.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'), 'no certificate'],
        [mac.file('none.pem'), 'cannot be read'],
      ] as const) {
        const refused = await run(file);
        expect([refused.status, refused.stderr], file).toEqual([64, expect.stringContaining(message)]);
      }
      expect(existsSync(folder)).toBe(false);

      const keytool = join(mac.root, 'Library/Java/JavaVirtualMachines/17.jdk/Contents/Home/bin/keytool');
      mkdirSync(join(keytool, '..'), { recursive: true });
      const list = mac.file('java');
      writeFileSync(
        keytool,
        `#!/bin/sh\ncase $1 in -list) grep -qs -- "$6" '${list}' ;; -importcert) echo "$@" >>'${list}' ;; esac\n`,
        { mode: 0o755 },
      );
      mac.remember('trust-needs-a-person');
      mac.remember('swift-may-not');
      const refused = await run(pki.root);
      expect(refused.stdout).toMatch(
        /failed +authorities +macOS lets nobody but a person at its screen trust .*Office Root/,
      );
      expect(refused.stdout).toMatch(/tart run VM.*sudo security add-trusted-cert -d -r trustRoot/);
      mac.forget('swift-may-not');
      expect(outcomesOf(await run(pki.root)).authorities).toBe('changed');
      mac.forget('trust-needs-a-person');
      mac.calls();
      // Two in one file, of which one is there already.
      const changed = await run(pki.both);
      expect(outcomesOf(changed).authorities, changed.stdout).toBe('changed');
      expect(mac.calls()).toEqual([expect.stringMatching(/^chown/), 'security add-trusted-cert trustAsRoot']);
      const again = await step(mac, 'authorities');
      expect([again.word, again.detail]).toEqual(['ok', expect.stringContaining('2 trusted')]);
      expect(readFileSync(list, 'utf8').trim().split('\n')).toHaveLength(2);
      expect(readFileSync(join(folder, 'all.pem'), 'utf8')).toBe(
        `the public authorities\n${readFileSync(join(folder, 'own.pem'), 'utf8')}`,
      );
      expect(readFileSync(join(folder, 'own.pem'), 'utf8').match(/BEGIN/g)).toHaveLength(2);
      // The step monitor keeps them. A build finds them.
      for (const name of ['monitor', 'homebrew', 'build-shell']) expect((await step(mac, name)).status).toBe(0);
      expect((await step(mac, 'authorities', ['--check'])).word).toBe('ok');
      const found = await mac.guest(
        mac.file(
          'build',
          `. '${mac.root}/usr/local/share/tartbeat/build-environment.sh'\nenv | grep /authorities/ | sort\n`,
        ),
      );
      expect(found.stdout.trim().split('\n')).toEqual([
        `CURL_CA_BUNDLE=${folder}/all.pem`,
        `GIT_SSL_CAINFO=${folder}/all.pem`,
        `NODE_EXTRA_CA_CERTS=${folder}/own.pem`,
        `SSL_CERT_FILE=${folder}/all.pem`,
      ]);
      // A change of the rule is undone, also on a release on which it works.
      mac.remember('trust-needs-a-person');
      mac.remember('rules-can-be-written');
      mac.forget('trusted');
      expect((await step(mac, 'authorities')).word).toBe('changed');
      expect(mac.recall('trust-allowed')).toBeNull();
      expect((await step(mac, 'image')).status).toBe(0);
      expect(readFileSync(join(folder, '../provisioned'), 'utf8').match(/^authority [0-9a-f]{64}$/gm)).toHaveLength(2);
    },
  );

  inDetail('Xcode comes from a download, under the name of its version, once', async () => {
    using mac = standInMac(shell);
    rmSync(join(mac.root, 'Applications'), { recursive: true });
    mkdirSync(join(mac.root, 'Applications'));
    mkdirSync(join(mac.home, 'x'));
    const xip = join(mac.home, 'x/Xcode.xip');
    const run = () => mac.guest('provision.sh', ['--only', 'xcode-download', '--only', 'xcode', '--xcode-file', xip]);
    writeFileSync(xip, 'xxx');
    expect((await run()).stdout).toContain('xip --expand');
    writeFileSync(xip, 'xar!no version');
    expect((await run()).stdout).toContain('Xcode.xip holds no Xcode with a version');
    writeFileSync(xip, 'xar!27.0');
    expect(outcomesOf(await run())).toEqual({ 'xcode-download': 'changed', xcode: 'changed' });
    expect(existsSync(join(mac.root, 'Applications/Xcode_27.0.app/Contents/Developer'))).toBe(true);
    mac.calls();
    expect(outcomesOf(await run())).toEqual({ 'xcode-download': 'ok', xcode: 'ok' });
    expect(mac.calls()).toEqual([]);
    expect((await step(mac, 'xcode-download')).detail).toBe('Xcode_27.0.app is from a download');
  });

  inDetail('an image for others holds no key, host key or address of this Mac, and nobody’s credentials', async () => {
    using mac = standInMac(shell);
    const at = (path: string) => join(mac.root, path);
    const release = () => mac.guest('release-image.sh', ['--user', 'admin']);
    expect((await mac.guest('release-image.sh', ['--user', 'admin'], { user: 'admin' })).status).toBe(77);
    expect((await mac.guest('release-image.sh', [])).status).toBe(64);
    await mac.guest('provision.sh', ['--only', 'authorised-key', '--key-file', keyFile(mac)]);
    await mac.guest('provision.sh', ['--only', 'private-networks', '--packet-filter', '192.0.2.7']);
    for (const name of ['known-hosts', 'monitor', 'image']) expect((await step(mac, name)).status).toBe(0);
    for (const folder of ['etc/ssh', 'Users/admin/.tartbeat/b_1-1', 'Users/admin/.zsh_sessions'])
      mkdirSync(at(folder), { recursive: true });
    for (const file of ['etc/ssh/ssh_host_ed25519_key', 'etc/ssh/ssh_host_ed25519_key.pub', 'etc/ssh/sshd_config'])
      writeFileSync(at(file), 'x');
    for (const file of ['.zsh_history', '.tartbeat/b_1-1/monitor.log', '.zsh_sessions/1'])
      writeFileSync(join(mac.home, file), '192.0.2.7');
    writeFileSync(join(mac.home, '.ssh/known_hosts'), 'git.office.example ssh-ed25519 AAAA\n', { flag: 'a' });
    const home = 'Users/admin/';
    const identity = `${'0A'.repeat(20)} "Apple Distribution: Acme (AAAAAAAAAA)" (CSSMERR_TP_CERT_EXPIRED)\n`;
    const secrets: Record<string, string> = {
      [`${home}.netrc`]: 'machine a',
      [`${home}.npmrc`]: '//a/:_authToken=hunter22',
      [`${home}.ssh/id_ed25519`]: 'x',
      [`${home}.ssh/deploy`]: '-----BEGIN OPENSSH PRIVATE KEY-----\n',
      [`${home}a.p12`]: 'x',
      [`${home}Downloads/upload.jks`]: 'x',
      [`${home}.expo/state.json`]: '{"auth":{"sessionSecret":"hunter22"}}',
      [`${home}.gradle/gradle.properties`]: 'ACME_UPLOAD_STORE_PASSWORD=hunter22\n',
      [`${home}.m2/settings.xml`]: '<server><password>hunter22</password></server>',
      [`${home}.bundle/config`]: '---\nBUNDLE_GEM__FURY__IO: "hunter22"\n',
      [`${home}.appstoreconnect/private_keys/AuthKey_A.p8`]: 'x',
      [`${home}private_keys/AuthKey_B.p8`]: 'x',
      [`${home}Library/Developer/Xcode/UserData/Provisioning Profiles/a.mobileprovision`]: 'x',
      [`${home}Library/Keychains/login.keychain-db`]: identity,
      'Library/Keychains/System.keychain': identity,
      [`${home}.zshrc`]: "export EXPO_TOKEN='hunter22'\n",
      [`${home}.zprofile`]: '  GITHUB_TOKEN=hunter22\n',
      [`${home}.bash_profile`]: 'export MATCH_PASSWORD=hunter22\n',
      'var/root/.netrc': 'machine a',
      'var/root/.npmrc': '//a/:_password=hunter22',
    };
    // What has no secret is no reason to refuse.
    const harmless: Record<string, string> = {
      [`${home}.npmrc`]: 'fund=false\n',
      [`${home}.expo/state.json`]: '{"uuid":"x"}',
      [`${home}.gradle/gradle.properties`]: 'org.gradle.jvmargs=-Xmx4g\n',
      [`${home}.bundle/config`]:
        '---\nBUNDLE_PATH: "vendor"\nBUNDLE_BUILD__NOKOGIRI: "--use-system"\nBUNDLE_GEM__TEST: "rspec"\n',
      [`${home}.zshrc`]: 'export PATH="$HOME/bin:$PATH"\n',
      [`${home}Library/Keychains/login.keychain-db`]: '',
      'Library/Keychains/System.keychain': `${'0B'.repeat(20)} "com.apple.systemdefault"\n`,
    };
    const writeAll = (files: Record<string, string>) => {
      for (const [file, text] of Object.entries(files)) {
        mkdirSync(at(join(file, '..')), { recursive: true });
        writeFileSync(at(file), text);
      }
    };
    writeAll(secrets);
    const refused = await release();
    expect(refused.status).toBe(1);
    const named = refused.stderr.split('\n').filter((line) => line.startsWith('    '));
    expect(named.map((line) => line.trim().replace(/ \(.*/, '')).sort()).toEqual(Object.keys(secrets).map(at).sort());
    expect(refused.stderr).not.toContain('hunter22');
    expect(existsSync(authorizedKeys(mac))).toBe(true);
    for (const file of Object.keys(secrets)) rmSync(at(file));
    writeAll(harmless);

    const before = readFileSync(at('usr/local/share/tartbeat/provisioned'), 'utf8');
    expect(before).toContain('packet-filter on');
    const released = await release();
    expect(released.status, released.stderr).toBe(0);
    const left = Object.entries(mac.contents()).flat();
    for (const trace of ['192.0.2.7', KEY_BODY, 'etc/ssh/ssh_host_ed25519_key', 'git.office.example'])
      expect(left.filter((text) => text.includes(trace)).map((text) => text.slice(0, 80))).toEqual([]);
    expect(existsSync(at('etc/ssh/sshd_config'))).toBe(true);
    expect(guestScripts(mac)).toEqual([version]);
    expect(readFileSync(at('usr/local/share/tartbeat/provisioned'), 'utf8')).toBe(
      before.replace('packet-filter on', 'packet-filter off'),
    );
    for (const name of ['known-hosts', 'monitor', 'image'])
      expect((await step(mac, name, ['--check'])).word).toBe('ok');
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
}
