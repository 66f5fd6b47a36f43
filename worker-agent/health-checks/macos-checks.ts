/**
 * Checks that macOS lets this Mac be a worker. Each entry is a setting or a fault that has made hosts of Tart
 * fail. `doctor` runs these checks, and so does an agent that is quarantined. To add a check, add an entry.
 *
 * Invariant: these checks change nothing. On another system than macOS all of them are skipped.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DAY_MS } from '#contract';
import { inWords } from '../mac/installation.ts';
import { answerOf, lastLineOf, macosVersion, majorOf, onMac, settingOf } from './ask-macos.ts';
import type { HostContext } from './host-context.ts';
import { fail, type HealthCheck, pass, warn } from './run-checks.ts';

const TIMEOUT_MS = 15_000;
/** The oldest macOS that softnet supports. Homebrew installs no Tart without softnet. */
const MACOS_MIN = 15;
/** There are some 250 addresses. Each clone takes one and keeps it for a whole lease. */
const LEASES_MANY = 200;
const LEASE_LONG_SECONDS = 3_600;
const PANIC_RECENT_MS = 7 * DAY_MS;
const SHARING = '/Library/Preferences/SystemConfiguration/com.apple.InternetSharing.default.plist';
const VM_PROCESS = 'com.apple.Virtualization.VirtualMachine';

/** Versions on which hosts of VMs were seen to fail, and how. Some fail with only one chip. */
const TROUBLED_MACOS: Record<string, { trouble: string; chip?: RegExp }> = {
  '15.7.7': { trouble: 'resets of the graphics processor stop VMs' },
  '26.3': {
    trouble: 'it forgets to free VM slots, and crashes if a VM shares folders with `--dir`, as builds never do',
  },
  '26.7': { trouble: 'with this chip, a VM that restarts may stay dead', chip: /\bM5\b/ },
};

export const MACOS_CHECKS: readonly HealthCheck<HostContext>[] = [
  {
    id: 'macos_version',
    title: 'macOS can run macOS VMs',
    why: `Tart needs a chip of Apple's and macOS ${MACOS_MIN}. VMs of macOS 27 need a Mac with macOS 26 or newer. A few versions are known to harm VMs.`,
    blocking: true,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Update macOS. The newest 26 or 27 is best.',
    run: onMac(async (mac, _, signal) => {
      const version = await macosVersion(mac, signal);
      const chip = (await answerOf(mac, 'uname', ['-m'], signal)).trim();
      if (chip !== 'arm64') return fail(`this Mac has ${chip}`, "macOS VMs need a Mac with Apple's own chip.");
      if (majorOf(version) < MACOS_MIN) return fail(`macOS ${version}; Tart needs ${MACOS_MIN}`);
      const troubled = TROUBLED_MACOS[version];
      if (!troubled) return pass(`macOS ${version}`);
      const brand = troubled.chip && (await answerOf(mac, 'sysctl', ['-n', 'machdep.cpu.brand_string'], signal));
      return brand && !troubled.chip?.test(brand)
        ? pass(`macOS ${version}`)
        : warn(`macOS ${version}: ${troubled.trouble}`);
    }),
  },
  {
    id: 'host_sleep',
    title: 'Mac never sleeps',
    why: 'A Mac that sleeps stops its VMs, and with them every beat. The agent keeps the Mac awake while it runs, but it cannot do so after a restart or with a closed lid.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: `Run ${inWords('never-sleep')}.`,
    run: onMac(async (mac, _, signal) => {
      const settings = pmset(await answerOf(mac, 'pmset', ['-g'], signal));
      const sleeping = ['sleep', 'disksleep'].filter((name) => (settings[name] ?? 0) > 0);
      if (sleeping.length === 0) return pass('sleep 0, disksleep 0');
      return warn(sleeping.map((name) => `${name} after ${settings[name]} min`).join(', '));
    }),
  },
  {
    id: 'power_loss',
    title: 'Mac starts again after a power failure',
    why: 'Otherwise somebody has to press the power button of the Mac.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: `Run ${inWords('start-after-power-loss')}.`,
    run: onMac(async (mac, _, signal) => {
      const { autorestart } = pmset(await answerOf(mac, 'pmset', ['-g'], signal));
      if (autorestart === undefined) return pass('this Mac has no such setting');
      return autorestart > 0 ? pass('autorestart 1') : warn('autorestart 0');
    }),
  },
  {
    id: 'automatic_updates',
    title: 'macOS does not restart by itself',
    why: 'An update in the night ends every build, and after the restart the Mac may wait at a login window.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: `Run ${inWords('no-updates')}.`,
    run: onMac(async (mac, _, signal) => {
      const name = 'AutomaticallyInstallMacOSUpdates';
      const value = await settingOf(mac, '/Library/Preferences/com.apple.SoftwareUpdate', name, signal);
      return value === '0'
        ? pass('updates wait until somebody starts them')
        : warn(`${name} is ${value ?? 'not set: on'}`);
    }),
  },
  {
    id: 'gui_session',
    title: 'Account is logged in',
    why: 'VMs start only in the session of an account that is logged in. Without one Tart fails with a VZErrorDomain that mentions a HostKey.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Log in on the screen of this Mac, or with Screen Sharing.',
    run: onMac(async (mac, _, signal) => {
      const owner = (await answerOf(mac, 'stat', ['-f', '%Su', '/dev/console'], signal)).trim();
      if (owner === mac.user) return pass(owner);
      return warn(owner === 'root' ? 'nobody is logged in' : `${owner} is logged in, and VMs run as ${mac.user}`);
    }),
  },
  {
    id: 'automatic_login',
    title: 'Account is logged in again after a restart',
    why: 'After a restart no VM starts until somebody has logged in. macOS offers automatic login only while FileVault is off.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'If FileVault is on, choose one of three ways. (1) Keep the Mac in a locked room, turn FileVault off, and choose the account in System Settings > Users & Groups > Automatically log in as. (2) Keep FileVault, restart with `sudo fdesetup authrestart`, and log in with Screen Sharing afterwards. After a power failure somebody has to type the password at the Mac. (3) Keep FileVault and turn Remote Login on. On macOS 26 and newer, `ssh` then takes the password after each restart and unlocks the disk. Log in with Screen Sharing afterwards.',
    run: onMac(async (mac, _, signal) => {
      const vault = await mac.run('fdesetup', ['status'], signal);
      if (/FileVault is On/.test(vault.stdout)) return warn('FileVault is on, so there is no automatic login');
      const name = await settingOf(mac, '/Library/Preferences/com.apple.loginwindow', 'autoLoginUser', signal);
      if (name === mac.user) return pass(name);
      return warn(
        name === null ? 'automatic login is off' : `${name} is logged in, and VMs run as ${mac.user}`,
        'Choose the account in System Settings > Users & Groups > Automatically log in as.',
      );
    }),
  },
  {
    id: 'login_keychain',
    title: 'Login keychain is unlocked',
    why: 'VMs keep a key in the login keychain. While it is locked, `tart run` ends with "The virtual machine failed to start".',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Log in on the screen once, or run `security unlock-keychain login.keychain-db`.',
    run: onMac(async (mac, _, signal) => {
      if (mac.uid === 0)
        return { status: 'skipped', detail: `it belongs to ${mac.user}, and root cannot look into it` };
      const { exitCode, stderr } = await mac.run('security', ['show-keychain-info', 'login.keychain-db'], signal);
      return exitCode === 0 ? pass('login.keychain-db') : warn(lastLineOf(stderr) || `security ended with ${exitCode}`);
    }),
  },
  {
    id: 'dhcp_lease',
    title: 'Addresses of VMs are free again soon',
    why: 'Each clone takes an address for a whole lease, which is a day by default. After some 250 builds in a day no VM gets an address.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: `Run ${inWords('short-leases')}.`,
    run: onMac(async (mac, _, signal) => {
      const { stdout } = await mac.run('defaults', ['read', SHARING, 'bootpd'], signal);
      const seconds = /DHCPLeaseTimeSecs\s*=\s*"?(\d+)/.exec(stdout)?.[1];
      if (seconds === undefined) return warn('the lease is a day');
      return Number(seconds) <= LEASE_LONG_SECONDS ? pass(`${seconds} s`) : warn(`the lease is ${seconds} s`);
    }),
  },
  {
    id: 'dhcp_pool',
    title: 'Addresses are left for VMs',
    why: 'When all addresses are taken, a VM gets none. When one is given twice, a VM has the address of another VM.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Run `sudo rm /var/db/dhcpd_leases` while no VM runs.',
    run: onMac(async (mac) => {
      const text = await readFile(mac.file('/var/db/dhcpd_leases'), 'utf8').catch(() => null);
      if (text === null) return pass('no VM has had an address yet');
      const held = leasesOf(text).filter(({ untilMs }) => untilMs > Date.now());
      const twice = held.find(({ address }, index) => held.findIndex((one) => one.address === address) !== index);
      if (twice) return warn(`${twice.address} is given to two VMs`);
      return held.length <= LEASES_MANY ? pass(`${held.length} in use`) : warn(`${held.length} of some 250 in use`);
    }),
  },
  {
    id: 'firewall',
    title: 'Firewall lets VMs have addresses',
    why: "The firewall of macOS treats macOS's own DHCP server as an application. If it blocks the server, VMs get no address, or one that begins with 169.254.",
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Run `sudo /usr/libexec/ApplicationFirewall/socketfilterfw --setblockall off --unblockapp /usr/libexec/bootpd`.',
    run: onMac(async (mac, _, signal) => {
      const all = await mac.run('socketfilterfw', ['--getblockall'], signal);
      if (/\benabled\b/i.test(all.stdout)) return warn('it blocks all incoming connections');
      const app = await mac.run('socketfilterfw', ['--getappblocked', '/usr/libexec/bootpd'], signal);
      return /\bblocked\b/i.test(app.stdout) && !/\b(?:not|un)[ -]?blocked\b/i.test(app.stdout)
        ? warn('it blocks bootpd')
        : pass('bootpd is not blocked');
    }),
  },
  {
    id: 'stale_vm_processes',
    title: 'No process is left of a deleted VM',
    why: 'Such a process keeps one of the two VM slots and the disk of its VM ("Failed to lock auxiliary storage"), and `tart list` does not show it.',
    blocking: false,
    dependsOn: ['tart'],
    timeoutMs: 45_000,
    fix: 'If no other program on this Mac runs VMs, kill these processes with `kill PID`. If starts still fail, restart the Mac.',
    run: onMac(async (mac, context, signal) => {
      const lines = (await answerOf(mac, 'ps', ['-axo', 'pid=,comm='], signal)).split('\n');
      const pids = lines.filter((line) => line.includes(VM_PROCESS)).map((line) => line.trim().split(/\s+/)[0]!);
      const listed = await context.tart().list(signal);
      if (!listed.ok) return fail(listed.message);
      const running = listed.vms.filter(({ state }) => state === 'running').length;
      if (pids.length <= running) return pass(`${running} running`);
      return warn(`${pids.length} VM processes (${pids.join(', ')}), and tart list shows ${running} running`);
    }),
  },
  {
    id: 'kernel_panics',
    title: 'Mac has not crashed lately',
    why: 'A kernel panic ends every build on the Mac. Most come from macOS itself, and an update may cure them.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Update macOS, and read the report in Console.app.',
    run: onMac(async (mac) => {
      const folder = mac.file('/Library/Logs/DiagnosticReports');
      const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.panic'));
      const found = await Promise.all(
        names.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })),
      );
      const recent = found.filter(({ at }) => at > Date.now() - PANIC_RECENT_MS);
      return recent.length === 0
        ? pass('no panic in a week')
        : warn(`${recent.length} in a week, the last: ${recent.sort((a, b) => b.at - a.at)[0]!.name}`);
    }),
  },
];

/** ` sleep                0 (sleep prevented by caffeinate)` → { sleep: 0 } */
function pmset(text: string): Record<string, number> {
  return Object.fromEntries(
    [...text.matchAll(/^\s*(\w+)\s+(\d+)\b/gm)].map(([, name, value]) => [name!, Number(value)]),
  );
}

/**
 * Reads entries in braces, with `ip_address=192.168.64.5` and `lease=0x68d3f2a1`, the second at which it
 * ends.
 */
function leasesOf(text: string): { address: string; untilMs: number }[] {
  return [...text.matchAll(/\{([^}]*)\}/g)].flatMap(([, entry]) => {
    const address = /^\s*ip_address=(\S+)$/m.exec(entry!)?.[1];
    const until = /^\s*lease=(0x[0-9a-f]+)$/im.exec(entry!)?.[1];
    return address && until ? [{ address, untilMs: Number(until) * 1000 }] : [];
  });
}
