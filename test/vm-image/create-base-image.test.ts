import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { MAKE_BUSY_EXIT } from '../../worker-agent/images/make-image.ts';
import { testWith } from '../set-up/test-with.ts';
import { isTestedInDetail, SHELLS, type Shell } from './factories/guest-script.ts';
import {
  outcomesOf,
  PUBLIC_KEY,
  publicImages,
  SIGNAL_AT_THE_END,
  STEPS,
  type StandInMac,
  standInMac,
} from './factories/stand-in-mac.ts';
import { nameOf } from './provision/provisioning.ts';

const { reference: IMAGE, digest: DIGEST } = publicImages()[0]!;

/** A Mac with the agent's key and the VMs that a test needs at its start. */
function macWithKey(shell: Shell, vms: string[] = []) {
  const mac = standInMac(shell);
  const key = mac.file('tart_vm_key', 'private\n');
  mac.file('tart_vm_key.pub', `${PUBLIC_KEY}\n`);
  // Tart's folder of the VM. The stand-in keeps no disk in it.
  mkdirSync(mac.file('host-home/.tart/vms/expo-build-vm'), { recursive: true });
  for (const name of vms) mac.file(`vms/${name}`, 'made by the test\n');
  return Object.assign(mac, {
    create: (args: string[] = [], options: Parameters<StandInMac['host']>[2] = {}) =>
      mac.host('create-base-image.sh', ['expo-build-vm', '--key', key, ...args], options),
    vms: () => readdirSync(join(mac.root, '../vms')).sort(),
    /** The files that are left in the folder that the test uses as $TMPDIR. */
    leftovers: () => readdirSync(join(mac.root, '..')).filter((name) => /^tartbeat/.test(name)),
  });
}

/** Leaves out all steps but these, because each takes its time. provision/steps.test.ts tests them all. */
const onlySteps = (...needed: string[]) =>
  STEPS.map(nameOf)
    .filter((name) => ![...EACH_IMAGE, ...needed].includes(name))
    .flatMap((name) => ['--skip', name]);
const EACH_IMAGE = ['authorised-key', 'monitor', 'image'];
const BRIEFLY = onlySteps('sudo-rule');
/** Makes sudo ask nobody, as in Tart's images. Then the step sudo-rule is not needed. */
const letSudoAskNobody = (mac: StandInMac) => mac.remember('sudo-without-password');

const tartCalls = (mac: StandInMac) => mac.calls().filter((call) => /^(tart|shutdown) /.test(call));

for (const shell of SHELLS) {
  const declare = testWith(shell);
  const holds = (sentence: string, check: () => Promise<void>, timeout?: number) =>
    declare(`${shell}: ${sentence}`, { timeout, concurrent: true }, check);
  const inDetail = isTestedInDetail(shell) ? holds : () => {};

  holds(
    'pulls, boots, provisions, verifies, shuts down and snapshots; goes on after Ctrl-C; replaces nothing unasked',
    async () => {
      using mac = macWithKey(shell);
      // Interrupts in the middle of provisioning, after the first step has changed something.
      const interruption = new AbortController();
      const interrupted = mac.create(BRIEFLY, { signal: interruption.signal });
      const begun = vi.waitFor(() => expect(existsSync(join(mac.root, 'etc/sudoers.d/tartbeat'))).toBe(true), {
        timeout: 120_000,
        interval: 20,
      });
      const ended = await Promise.race([begun.then(() => null), interrupted]);
      expect(ended, 'it ended before it changed anything').toBeNull();
      interruption.abort();
      const first = await interrupted;
      expect(first.status).toBe(130);
      expect(first.stdout).toContain('Shutting expo-build-vm down');
      expect(mac.vms()).toEqual(['expo-build-vm']);
      expect(mac.leftovers()).toEqual([]);
      const before = tartCalls(mac);
      expect(before.slice(0, 3)).toEqual([
        `tart pull ${IMAGE}`,
        `tart clone ${IMAGE} expo-build-vm`,
        'tart run expo-build-vm --no-graphics --no-audio --no-clipboard',
      ]);
      expect(before.join()).not.toContain('expo-build-vm-base-snapshot');

      const second = await mac.create(['--cpus', '4', '--memory-gb', '8', '--disk-gb', '140', ...BRIEFLY]);
      expect(second.status, second.stdout + second.stderr).toBe(0);
      expect(second.stdout).toContain('expo-build-vm exists already; using it');
      expect(second.stdout).toMatch(/^ok +sudo-rule /m);
      expect(second.stdout).toMatch(/^This VM is fit\.$/m);
      expect(second.stdout).toContain('expo-build-vm-base-snapshot is ready');
      expect(mac.vms()).toEqual(['expo-build-vm', 'expo-build-vm-base-snapshot']);
      expect(tartCalls(mac)).toEqual([
        'tart set expo-build-vm --cpu 4 --memory 8192 --disk-size 140',
        'tart run expo-build-vm --no-graphics --no-audio --no-clipboard',
        'shutdown -h now',
        'tart clone expo-build-vm expo-build-vm-base-snapshot',
      ]);
      expect(mac.leftovers()).toEqual([]);
      expect(existsSync(join(mac.home, '.tartbeat-image'))).toBe(false);

      // Only the first run was told what the VM was cloned from.
      expect(readFileSync(join(mac.root, 'usr/local/share/tartbeat/image'), 'utf8')).toContain(`digest=${DIGEST}\n`);
      const another = await mac.create(['--from', 'golden-gate-xcode-27', '--force']);
      expect([another.status, another.stderr]).toEqual([
        1,
        expect.stringContaining(`expo-build-vm exists already, and was made from ${IMAGE}`),
      ]);

      const third = await mac.create();
      expect(third.status).toBe(1);
      expect(third.stderr).toContain('expo-build-vm-base-snapshot exists already and was not replaced');
      expect(mac.calls()).toEqual([]);

      const fourth = await mac.create(['--force', ...BRIEFLY]);
      expect(fourth.status, fourth.stdout + fourth.stderr).toBe(0);
      expect(fourth.stdout).toMatch(/^0 step\(s\) changed$/m);
      // The old snapshot keeps its name until the new one is whole.
      expect(tartCalls(mac).slice(-3)).toEqual([
        'tart clone expo-build-vm expo-build-vm-base-snapshot-new',
        'tart delete expo-build-vm-base-snapshot',
        'tart rename expo-build-vm-base-snapshot-new expo-build-vm-base-snapshot',
      ]);
      expect(mac.vms()).toEqual(['expo-build-vm', 'expo-build-vm-base-snapshot']);
    },
    600_000,
  );

  inDetail(
    'with --restrict-key the snapshot has the key tied to vm-ssh-gate; made anew, it is provisioned with the password',
    async () => {
      using mac = macWithKey(shell, ['expo-build-vm']);
      letSudoAskNobody(mac);
      const image = join(mac.root, 'usr/local/share/tartbeat/image');
      const result = mac.file('result');
      for (const force of [[], ['--force']]) {
        // The script does not take a text that a build wrote there for a result.
        if (force.length > 0) writeFileSync(image, 'snapshot=other\nfrom=other\n\u001b[2J\n', { flag: 'a' });
        const args = ['--restrict-key', '--packet-filter', '192.0.2.7', '--result', result, ...force];
        const outcome = await mac.create([...args, ...onlySteps('restrict-key', 'private-networks')]);
        expect(outcome.status, outcome.stdout + outcome.stderr).toBe(0);
        expect(readFileSync(result, 'utf8')).toMatch(
          /^snapshot=expo-build-vm-base-snapshot\ndigest=\nprovisioned=[0-9a-f]{64}\nfrom=\n$/,
        );
        expect(outcome.stdout).not.toContain('\u001b');
        expect(outcome.stdout).toContain('Tying the key to vm-ssh-gate');
        expect(readFileSync(join(mac.home, '.ssh/authorized_keys'), 'utf8')).toBe(
          `restrict,command="${mac.root}/usr/local/bin/vm-ssh-gate" ${PUBLIC_KEY.replace(/\S+$/, 'tartbeat')}\n`,
        );
        expect(readFileSync(join(mac.root, 'etc/tartbeat-packet-filter.conf'), 'utf8')).toContain('{ 192.0.2.7 }');
        expect(existsSync(join(mac.home, '.tartbeat-image'))).toBe(false);
        expect(mac.vms()).toEqual(['expo-build-vm', 'expo-build-vm-base-snapshot']);
      }
    },
    600_000,
  );

  inDetail(
    'a tag is asked for once and its digest is kept; two Macs with the same inputs make the same image',
    async () => {
      const tag = 'registry.example.com/macos:27';
      const made: Record<string, string>[] = [];
      for (const addresses of ['192.0.2.7', '192.0.2.8']) {
        using mac = macWithKey(shell);
        letSudoAskNobody(mac);
        mac.file('tart_vm_key.pub', `ssh-ed25519 AAAAKeyOf${made.length}OnThisMac agent@host\n`);
        mac.remember('list-fails', '2');
        const result = mac.file('result');
        const args = ['--from', tag, '--snapshot', 'vm-base-0123', '--result', result, '--drop-pulled'];
        const outcome = await mac.create([...args, ...onlySteps('private-networks'), '--packet-filter', addresses]);
        expect(outcome.status, outcome.stdout + outcome.stderr).toBe(0);
        expect(mac.vms()).toEqual(['expo-build-vm', 'vm-base-0123']);
        const image = readFileSync(join(mac.root, 'usr/local/share/tartbeat/image'), 'utf8');
        const written = Object.fromEntries(
          [...readFileSync(result, 'utf8').matchAll(/^([a-z]+)=(.*)$/gm)].map((l) => l.slice(1)),
        );
        const exact = `registry.example.com/macos@${written.digest}`;
        expect(image).toBe(`digest=${written.digest}\nprovisioned=${written.provisioned}\n`);
        expect(written).toMatchObject({ snapshot: 'vm-base-0123', from: exact });
        expect(outcome.stdout).toContain(`For the same image on another Mac: --from ${exact}`);
        expect(tartCalls(mac).slice(0, 3)).toEqual([
          `tart pull ${tag}`,
          `tart clone ${exact} expo-build-vm`,
          `tart delete ${exact}`,
        ]);
        made.push(written);
      }
      expect(made[0]).toEqual(made[1]);
    },
    600_000,
  );

  inDetail(
    'an image for others is published from one Mac, and another one makes it its own, with its own key',
    async () => {
      const ca = join(import.meta.dirname, '../fixtures/authorities/root.pem');
      using publisher = macWithKey(shell, ['expo-build-vm']);
      const result = publisher.file('result');
      const refused = await publisher.create(['--for-publication']);
      expect([refused.status, refused.stderr]).toEqual([64, expect.stringContaining('needs --snapshot NAME')]);
      const args = ['--for-publication', '--snapshot', 'vm-publish', '--result', result];
      // Without a login by password nobody could enter the image.
      mkdirSync(join(publisher.home, '.ssh'), { mode: 0o700 });
      writeFileSync(join(publisher.home, '.ssh/authorized_keys'), `${PUBLIC_KEY}\n`, { mode: 0o600 });
      publisher.remember('no-passwords');
      const locked = await publisher.create([...args, ...BRIEFLY]);
      expect([locked.status, locked.stderr]).toEqual([1, expect.stringContaining('cannot log in with the password')]);
      expect(publisher.vms()).toEqual(['expo-build-vm']);
      publisher.forget('no-passwords');

      const steps = onlySteps('sudo-rule', 'authorities', 'restrict-key');
      const made = await publisher.create([...args, '--ca', ca, ...steps]);
      expect(made.status, made.stdout + made.stderr).toBe(0);
      expect(made.stdout).toContain('nothing of this Mac is left in the image');
      expect(publisher.vms()).toEqual(['expo-build-vm', 'vm-publish']);
      expect(existsSync(join(publisher.home, '.ssh/authorized_keys'))).toBe(false);
      const { provisioned } = /provisioned=(?<provisioned>.*)/.exec(readFileSync(result, 'utf8'))!.groups!;

      // The other Mac gets the same disk, and the settings that are not files.
      using other = macWithKey(shell);
      cpSync(publisher.root, other.root, { recursive: true, verbatimSymlinks: true });
      for (const name of readdirSync(join(publisher.root, '../state')))
        if (!/^(pulled|shut-down)$/.test(name)) other.remember(name, publisher.recall(name)!);
      other.file('tart_vm_key.pub', 'ssh-ed25519 AAAAKeyOfTheOtherMac agent@other\n');
      const own = other.file('result');
      const reference = `registry.example.com/tartbeat@sha256:${'9a'.repeat(32)}`;
      // The steps that the image leaves out are left out here too, though no option says so.
      const fetched = await other.create(['--from', reference, '--result', own, '--ca', ca, '--restrict-key']);
      expect(fetched.status, fetched.stdout + fetched.stderr).toBe(0);
      // The links of the publisher lead to the folder of its test, so the step monitor makes them anew.
      const changed = Object.entries(outcomesOf(fetched)).filter(([, outcome]) => outcome === 'changed');
      expect(changed.map(([name]) => name).sort()).toEqual(['authorised-key', 'image', 'monitor']);
      expect(readFileSync(own, 'utf8')).toBe(
        `snapshot=expo-build-vm-base-snapshot\ndigest=sha256:${'9a'.repeat(32)}\nprovisioned=${provisioned}\nfrom=${reference}\n`,
      );
      expect(readFileSync(join(other.home, '.ssh/authorized_keys'), 'utf8')).toMatch(
        /^restrict,.*AAAAKeyOfTheOtherMac tartbeat\n$/,
      );
    },
    600_000,
  );

  inDetail(
    'Xcode comes from a file of one’s own, onto an image without Xcode, and is copied once',
    async () => {
      using mac = macWithKey(shell);
      letSudoAskNobody(mac);
      rmSync(join(mac.root, 'Applications'), { recursive: true });
      mkdirSync(join(mac.root, 'Applications'));
      mac.remember('container-kb', '48828125');
      mac.remember('free-kb', '1000000');
      const xip = mac.file('Xcode_27.xip', 'xar!27.0');
      const small = await mac.create(['--xcode', xip, ...onlySteps('disk', 'xcode-download', 'xcode')]);
      expect([small.status, small.stderr]).toEqual([
        1,
        expect.stringContaining('the VM has 1 GB free, and to unpack Xcode takes 15 GB'),
      ]);
      expect(small.stderr).toContain('--disk-gb 154');
      const base = publicImages().find((image) => image.xcode === '-')!;
      expect(
        mac
          .calls()
          .filter((call) => /^(tart|diskutil) /.test(call))
          .slice(0, 5),
      ).toEqual([
        `tart pull ${base.reference}`,
        `tart clone ${base.reference} expo-build-vm`,
        'tart set expo-build-vm --disk-size 140',
        'tart run expo-build-vm --no-graphics --no-audio --no-clipboard',
        'diskutil repairDisk disk0',
      ]);
      mac.forget('free-kb');
      const made = await mac.create(['--xcode', xip, ...onlySteps('disk', 'xcode-download', 'xcode')]);
      expect(made.status, made.stdout + made.stderr).toBe(0);
      expect(made.stdout).toContain('Copying Xcode_27.xip into the VM');
      expect(made.stdout).toContain('sudo xcodebuild -downloadPlatform iOS');
      expect(existsSync(join(mac.root, 'Applications/Xcode_27.0.app'))).toBe(true);
      expect(existsSync(join(mac.home, '.tartbeat-image'))).toBe(false);
      mac.calls();
      const again = await mac.create(['--xcode', xip, '--force', ...onlySteps('disk', 'xcode-download', 'xcode')]);
      expect(again.status, again.stdout + again.stderr).toBe(0);
      expect(again.stdout).toContain('Xcode_27.0.app is in the VM already');
      expect(mac.calls().filter((call) => call.startsWith('xip'))).toEqual([]);
    },
    600_000,
  );

  inDetail('a Mac or a Tart that is too old for a public image is refused before the download', async () => {
    using mac = macWithKey(shell);
    mac.remember('tart-version', '2.34.0');
    const old = await mac.create(['--from', 'golden-gate-xcode-27']);
    expect([old.status, old.stderr]).toEqual([1, expect.stringContaining('needs Tart 2.39.0, and this is 2.34.0')]);
    mac.remember('macos', '15.7');
    mac.forget('tart-version');
    const older = await mac.create(['--from', 'golden-gate-xcode-27']);
    expect(older.stderr).toContain('needs a Mac with macOS 26, and this one has 15.7');
    expect((await mac.create(['--from', 'no-such-vm'])).stderr).toContain('there is no VM no-such-vm');
    expect(mac.calls()).toEqual([]);
    mac.fail('tart', 'pull');
    await mac.create();
    await mac.create(['--from', '127.0.0.1:5000/x@sha256:00']);
    await mac.create(['--from', 'tahoe-xcode-27']);
    expect(mac.calls()).toEqual([
      `tart pull ${IMAGE}`,
      'tart pull 127.0.0.1:5000/x@sha256:00 --insecure',
      'tart pull ghcr.io/cirruslabs/macos-tahoe-xcode:27',
    ]);
    expect(IMAGE).toContain(DIGEST);
  });

  inDetail('a step of tart that fails is named, and no snapshot is made', async () => {
    for (const [fault, message] of [
      ['pull', `tart pull ${IMAGE} failed`],
      ['clone', `tart clone ${IMAGE} expo-build-vm failed`],
    ] as const) {
      using mac = macWithKey(shell);
      mac.fail('tart', fault);
      const outcome = await mac.create();
      expect([outcome.status, mac.vms()]).toEqual([1, []]);
      expect(outcome.stderr).toContain(message);
      expect(mac.leftovers()).toEqual([]);
    }
    using mac = macWithKey(shell, ['expo-build-vm']);
    mac.fail('tart', 'set');
    expect((await mac.create(['--cpus', '4'])).stderr).toContain('tart set expo-build-vm --cpu 4 failed');
    mac.repair();
    mac.break('tart');
    expect((await mac.create()).stderr).toContain("'tart list' failed");
  });

  inDetail('a VM that cannot start, has no address or no SSH is explained, within the time given', async () => {
    for (const [fault, wait, message, advice] of [
      ['vm-limit', '60', 'exceeds the system limit', 'two macOS VMs at most'],
      ['no-address', '1', 'got no address within 1 s', 'DHCP leases'],
      ['no-ssh', '1', 'no SSH login as admin within 1 s: ssh: connect to host', 'Remote Login must be on'],
    ] as const) {
      using mac = macWithKey(shell, ['expo-build-vm']);
      mac.remember(fault);
      const { status, stderr } = await mac.create(['--wait', wait]);
      expect(status, stderr).toBe(1);
      expect(stderr).toContain(message);
      expect(stderr).toContain(advice);
      await vi.waitFor(() => expect(mac.vms()).toEqual(['expo-build-vm']), { timeout: 20_000 });
      expect(mac.leftovers()).toEqual([]);
    }
  });

  // Only bash runs a trap between two commands.
  if (shell === 'bash')
    holds('a VM that Ctrl-C meets while it is started does not run on', async () => {
      using mac = macWithKey(shell, ['expo-build-vm']);
      const early = `
        interrupts() {
          until [ -e "$STAND_INS/vms/expo-build-vm.running" ]; do sleep 0.1; done
          kill -INT $$
        }
        set -T
        trap '[ "$BASH_COMMAND" != "run_pid=\\$!" ] || interrupts' DEBUG
        `;
      const { status } = await mac.create(BRIEFLY, { env: { BASH_ENV: mac.file('early.sh', early) } });
      expect(status).toBe(130);
      await vi.waitFor(() => expect(mac.vms()).toEqual(['expo-build-vm']), { timeout: 20_000 });
      expect(mac.leftovers()).toEqual([]);
    });

  // Only bash runs a trap between two commands.
  if (shell === 'bash')
    holds('Ctrl-C while it shuts the VM down does not keep it from that', async () => {
      using mac = macWithKey(shell, ['expo-build-vm']);
      mac.remember('no-ssh');
      const env = { BASH_ENV: mac.file('late.sh', SIGNAL_AT_THE_END) };
      expect((await mac.create(['--wait', '1'], { env })).status).toBe(1);
      await vi.waitFor(() => expect(mac.vms()).toEqual(['expo-build-vm']), { timeout: 20_000 });
      expect(mac.leftovers()).toEqual([]);
    });

  inDetail('a wrong password is said, and never shown', async () => {
    using mac = macWithKey(shell, ['expo-build-vm']);
    const { status, stdout, stderr } = await mac.create(['--wait', '1'], {
      env: { TARTBEAT_VM_PASSWORD: 'not-the-password' },
    });
    expect(status).toBe(1);
    expect(stderr).toContain('Permission denied');
    expect(stderr).toContain('TARTBEAT_VM_PASSWORD');
    expect(stdout + stderr).not.toContain('not-the-password');
  });

  inDetail(
    'a provisioning step that fails stops everything, and the VM is shut down',
    async () => {
      using mac = macWithKey(shell, ['expo-build-vm']);
      mac.fail('pmset');
      const { status, stdout, stderr } = await mac.create();
      expect(status).toBe(1);
      expect(stdout).toMatch(/^failed +power +'pmset -a sleep 0' failed with exit code 7/m);
      expect(stderr).toContain('provisioning stopped');
      expect(mac.vms()).toEqual(['expo-build-vm']);
      expect(tartCalls(mac).join('\n')).not.toContain('base-snapshot');
    },
    240_000,
  );

  inDetail(
    'missing keys, missing tart, and a second run at the same time are refused before anything is touched',
    async () => {
      using mac = macWithKey(shell, ['expo-build-vm']);
      const noKey = await mac.host('create-base-image.sh', ['vm', '--key', mac.file('nosuch')]);
      expect(noKey.stderr).toContain('ssh-keygen -t ed25519');
      const noPublic = await mac.host('create-base-image.sh', ['vm', '--key', mac.file('only-private', 'x')]);
      expect(noPublic.stderr).toContain('ssh-keygen -y');
      const noTart = await mac.create([], { env: { TARTBEAT_TART: 'no-such-tart' } });
      expect(noTart.stderr).toContain("there is no 'no-such-tart'");
      expect(noTart.stderr).toContain('brew install openai/tools/tart');

      const lock = join(mac.root, '../tartbeat-base-image.expo-build-vm');
      mkdirSync(lock);
      writeFileSync(join(lock, 'pid'), `${process.pid}\n`);
      const second = await mac.create();
      expect(second.status).toBe(MAKE_BUSY_EXIT);
      expect(second.stderr).toContain(`process ${process.pid} is already making expo-build-vm-base-snapshot`);
      expect(existsSync(lock)).toBe(true);
      // A run that died leaves its lock behind. The next run takes the lock over.
      writeFileSync(join(lock, 'pid'), '99999999\n');
      mac.remember('vm-limit');
      expect((await mac.create()).stderr).toContain('exceeds the system limit');
      expect(mac.leftovers()).toEqual([]);
    },
  );

  holds('refuses wrong arguments', async () => {
    using mac = standInMac(shell);
    for (const [args, message] of [
      [[], 'VM is missing'],
      [['vm-base-snapshot'], 'without -base-snapshot: vm'],
      [['a b'], 'VM must consist of'],
      [['vm', 'other'], "one VM, not 'vm' and 'other'"],
      [['vm', '--cpus', '-4'], "--cpus must be a whole number, not '-4'"],
      [['vm', '--user', 'a;reboot'], 'plain account name'],
      [['vm', '--from', '--force'], '--from must be the name'],
      [['vm', '--snapshot', 'vm'], '--snapshot must have another name'],
      [['vm', '--snapshot', 'a/b'], '--snapshot must consist of'],
      [['vm', '--result', '/nonexistent/x'], '--result: there is no folder /nonexistent'],
      [['vm', '--xcode', '/nonexistent.xip'], '--xcode: /nonexistent.xip cannot be read'],
      [['vm', '--xcode', 'Xcode.dmg'], '--xcode must be an Xcode*.xip'],
      [['vm', '--xcode', mac.file('a.xip', '<html>')], 'is no xip archive'],
      [['vm', '--xcode', mac.file('b.xip', 'xar!'), '--skip', 'xcode'], 'contradict each other'],
      [['vm', '--for-publication', '--snapshot', 'x', '--restrict-key'], 'nothing to tie'],
      [['vm', '--skip', '$(reboot)'], '--skip takes names of steps'],
      [['vm', '--controller', 'builds.example.com'], 'http:// or https://'],
      [['vm', '--controller', "http://x';reboot"], 'plain address'],
      [['vm', '--packet-filter', 'builds.example.com'], '--packet-filter takes addresses'],
      [['vm', '--frobnicate'], 'is not an option'],
      [['vm', '--frobnicate', '1'], "unknown option '--frobnicate'"],
    ] as const) {
      const { status, stderr } = await mac.host('create-base-image.sh', [...args]);
      expect(status, args.join(' ')).toBe(64);
      expect(stderr).toContain(message);
    }
    expect(mac.calls()).toEqual([]);
  });
}
