/**
 * Does macOS let this Mac be a worker? Each entry is something by which hosts of Tart have been seen to fail. Asked by `doctor`, and by
 * an agent that is quarantined. To add a check, add an entry.
 *
 * Invariant: looks, and changes nothing. Elsewhere than on a Mac all of them are skipped.
 */

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DAY_MS } from '#contract';
import { accountOf } from '../mac/account.ts';
import { type JobState, readJobs } from '../mac/launchd-service.ts';
import type { Mac, MacAnswer, MacCommand } from '../mac/programs.ts';
import { type CheckOutcome, fail, type HealthCheck, pass, warn } from './run-checks.ts';
import type { HostCheckContext } from './setup-checks.ts';

const TIMEOUT_MS = 15_000;
/** Of some 250 addresses; each clone takes one and keeps it for a whole lease. */
const LEASES_MANY = 200;
const LEASE_LONG_S = 3_600;
const PANIC_RECENT_MS = 7 * DAY_MS;
const SHARING = '/Library/Preferences/SystemConfiguration/com.apple.InternetSharing.default.plist';
const VM_PROCESS = 'com.apple.Virtualization.VirtualMachine';

/** Versions on which hosts of VMs were seen to fail, and how. */
const TROUBLED_MACOS: Record<string, string> = {
  '15.7.7': 'resets of the graphics processor stop VMs on it',
  '26.3': 'it forgets to free VM slots; then only a restart of the Mac helps',
};

type Run = (mac: Mac, context: HostCheckContext, signal: AbortSignal) => Promise<CheckOutcome>;
const onMac = (run: Run): HealthCheck<HostCheckContext>['run'] => {
  return async (context, signal) =>
    context.mac.platform === 'darwin'
      ? await run(context.mac, context, signal)
      : { status: 'skipped', detail: 'only macOS has this' };
};

export const MAC_CHECKS: readonly HealthCheck<HostCheckContext>[] = [
  {
    id: 'macos_version',
    title: 'macOS can run macOS VMs',
    why: "Tart needs Apple's chips and macOS 13. A few later versions are known to harm VMs.",
    blocking: true,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Update macOS.',
    run: onMac(async (mac, _, signal) => {
      const version = (await answer(mac, 'sw_vers', ['-productVersion'], signal)).trim();
      const chip = (await answer(mac, 'uname', ['-m'], signal)).trim();
      if (chip !== 'arm64') return fail(`this Mac has ${chip}`, "macOS VMs need a Mac with Apple's own chip.");
      if (majorOf(version) < 13) return fail(`macOS ${version}; Tart needs 13`);
      const trouble = TROUBLED_MACOS[version];
      return trouble ? warn(`macOS ${version}: ${trouble}`) : pass(`macOS ${version}`);
    }),
  },
  {
    id: 'host_sleep',
    title: 'Mac never sleeps',
    why: 'A Mac that sleeps stops its VMs, and every beat with them. The agent keeps it awake while it runs, but not past a restart or a closed lid.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Run: sudo pmset -a sleep 0 disksleep 0 displaysleep 0',
    run: onMac(async (mac, _, signal) => {
      const settings = pmset(await answer(mac, 'pmset', ['-g'], signal));
      const sleeping = ['sleep', 'disksleep'].filter((name) => (settings[name] ?? 0) > 0);
      if (sleeping.length === 0) return pass('sleep 0, disksleep 0');
      return warn(sleeping.map((name) => `${name} after ${settings[name]} min`).join(', '));
    }),
  },
  {
    id: 'power_loss',
    title: 'Mac starts again after a power failure',
    why: 'Otherwise somebody has to press its button.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Run: sudo pmset -a autorestart 1',
    run: onMac(async (mac, _, signal) => {
      const { autorestart } = pmset(await answer(mac, 'pmset', ['-g'], signal));
      if (autorestart === undefined) return pass('this Mac has no such setting');
      return autorestart > 0 ? pass('autorestart 1') : warn('autorestart 0');
    }),
  },
  {
    id: 'automatic_updates',
    title: 'macOS does not restart by itself',
    why: 'An update in the night ends every build, and the Mac may come back to a login window.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Run: sudo defaults write /Library/Preferences/com.apple.SoftwareUpdate AutomaticallyInstallMacOSUpdates -bool false',
    run: onMac(async (mac, _, signal) => {
      const name = 'AutomaticallyInstallMacOSUpdates';
      const value = await setting(mac, '/Library/Preferences/com.apple.SoftwareUpdate', name, signal);
      return value === '0' ? pass('updates wait to be asked') : warn(`${name} is ${value ?? 'not set: on'}`);
    }),
  },
  {
    id: 'gui_session',
    title: 'Account is logged in',
    why: 'VMs start only from the session of a logged-in account: without one Tart fails with a VZErrorDomain that speaks of a HostKey.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: "Log in on this Mac's own screen, or by Screen Sharing.",
    run: onMac(async (mac, _, signal) => {
      const owner = (await answer(mac, 'stat', ['-f', '%Su', '/dev/console'], signal)).trim();
      if (owner === mac.user) return pass(owner);
      return warn(owner === 'root' ? 'nobody is logged in' : `${owner} is logged in, and VMs run as ${mac.user}`);
    }),
  },
  {
    id: 'automatic_login',
    title: 'Account is logged in again after a restart',
    why: 'After a restart no VM starts until somebody has logged in. FileVault rules automatic login out.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'System Settings > Users & Groups > Automatically log in as. FileVault must be off.',
    run: onMac(async (mac, _, signal) => {
      const vault = await mac.run('fdesetup', ['status'], signal);
      if (/FileVault is On/.test(vault.stdout)) return warn('FileVault is on');
      const name = await setting(mac, '/Library/Preferences/com.apple.loginwindow', 'autoLoginUser', signal);
      if (name === mac.user) return pass(name);
      return warn(name === null ? 'automatic login is off' : `${name} is logged in, and VMs run as ${mac.user}`);
    }),
  },
  {
    id: 'login_keychain',
    title: 'Login keychain is unlocked',
    why: 'VMs keep a key in it. Locked, `tart run` ends with "The virtual machine failed to start".',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Log in on the screen once, or run: security unlock-keychain login.keychain-db',
    run: onMac(async (mac, _, signal) => {
      if (mac.uid === 0) return { status: 'skipped', detail: `it is ${mac.user}'s, and root does not see it` };
      const { exitCode, stderr } = await mac.run('security', ['show-keychain-info', 'login.keychain-db'], signal);
      return exitCode === 0 ? pass('login.keychain-db') : warn(lineOf(stderr) || `security ended with ${exitCode}`);
    }),
  },
  {
    id: 'dhcp_lease',
    title: 'Addresses of VMs are free again soon',
    why: 'Each clone takes an address for a whole lease, by default a day: after some 250 builds in a day no VM gets one.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: `Run: sudo defaults write ${SHARING} bootpd -dict DHCPLeaseTimeSecs -int 600`,
    run: onMac(async (mac, _, signal) => {
      const { stdout } = await mac.run('defaults', ['read', SHARING, 'bootpd'], signal);
      const seconds = /DHCPLeaseTimeSecs\s*=\s*"?(\d+)/.exec(stdout)?.[1];
      if (seconds === undefined) return warn('the lease is a day');
      return Number(seconds) <= LEASE_LONG_S ? pass(`${seconds} s`) : warn(`the lease is ${seconds} s`);
    }),
  },
  {
    id: 'dhcp_pool',
    title: 'Addresses are left for VMs',
    why: 'When all are taken, or one is given twice, a VM has no address, or that of another VM.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'While no VM runs: sudo rm /var/db/dhcpd_leases',
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
    why: "macOS's DHCP server is an application to its firewall. Blocked, VMs get 169.254 addresses or none.",
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Run: sudo /usr/libexec/ApplicationFirewall/socketfilterfw --setblockall off --unblockapp /usr/libexec/bootpd',
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
    title: 'No process is left of a VM that is gone',
    why: 'Such a process holds one of the two VM slots and the disk of its VM ("Failed to lock auxiliary storage"), and tart list does not show it.',
    blocking: false,
    dependsOn: ['tart'],
    timeoutMs: 45_000,
    fix: 'Kill those that belong to no other virtual machine application: kill PID. If starts still fail, restart the Mac.',
    run: onMac(async (mac, context, signal) => {
      const lines = (await answer(mac, 'ps', ['-axo', 'pid=,comm='], signal)).split('\n');
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
    why: 'A panic ends every build on the Mac. They come from macOS itself, and updates cure them.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Update macOS; read the report in Console.app.',
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
  {
    id: 'launchd_job',
    title: 'launchd runs the agent',
    why: 'An agent that was started by hand is gone after a restart, a crash, or the end of its terminal.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Run: sudo expo-worker install',
    run: onMac(async (mac, _, signal) => {
      const jobs = await jobsOf(mac, signal);
      const known = jobs.filter(({ loaded, plist }) => loaded || plist !== null);
      const [job] = known;
      if (!job) return warn('it is not installed');
      if (known.length > 1) return warn('both a LaunchDaemon and a LaunchAgent are installed', UNINSTALL_ONE);
      return judgeJob(job);
    }),
  },
  {
    id: 'local_network',
    title: 'Agent may reach VMs',
    why: 'Since macOS 15 a program needs leave to talk to the local network, and VMs are on one. A LaunchDaemon of root has it, a LaunchAgent has to be given it; without, SSH ends with "No route to host".',
    blocking: false,
    dependsOn: ['macos_version'],
    timeoutMs: TIMEOUT_MS,
    fix: 'System Settings > Privacy & Security > Local Network: turn node on, off and on again if it is. Or: expo-worker uninstall && sudo expo-worker install',
    run: onMac(async (mac, _, signal) => {
      const version = (await answer(mac, 'sw_vers', ['-productVersion'], signal)).trim();
      if (majorOf(version) < 15) return pass(`macOS ${version} does not ask`);
      const [daemon, agent] = await jobsOf(mac, signal);
      if (agent?.loaded) return warn('the agent is a LaunchAgent: it cannot be seen from here whether it has leave');
      return pass(daemon?.loaded ? 'the agent is a LaunchDaemon of root' : 'programs of a terminal may');
    }),
  },
];

const UNINSTALL_ONE = 'Run: sudo expo-worker uninstall, then expo-worker uninstall, then install one of them.';

function judgeJob({ kind, plist, loaded, pid, lastExitCode }: JobState): CheckOutcome {
  const name = kind === 'daemon' ? 'LaunchDaemon' : 'LaunchAgent';
  const again = `Run: ${kind === 'daemon' ? 'sudo expo-worker install' : 'expo-worker install --launch-agent'}`;
  if (!plist) return warn(`the ${name} is loaded, and its file is gone or broken`, again);
  if (!loaded) return warn(`the ${name} is installed and not loaded`, again);
  if (plist.ProcessType !== 'Interactive')
    return warn(`${name}: ProcessType is not Interactive, so macOS slows it`, again);
  if (plist.AbandonProcessGroup !== true) return warn(`${name}: launchd kills its VMs with it`, again);
  if (pid === null)
    return warn(`the ${name} is loaded and not running; it ended with ${lastExitCode ?? 'nothing known'}`, SEE_LOGS);
  return pass(`${name}, pid ${pid}`);
}

const SEE_LOGS = 'Look at: expo-worker logs, and agent-errors.log beside it.';

async function jobsOf(mac: Mac, signal: AbortSignal): Promise<JobState[]> {
  return await readJobs(mac, await accountOf(mac, mac.user), signal);
}

/** What it printed. Throws in one line if it failed: the check then says so. */
async function answer(mac: Mac, command: MacCommand, args: string[], signal: AbortSignal): Promise<string> {
  const { exitCode, stdout, stderr }: MacAnswer = await mac.run(command, args, signal);
  if (exitCode !== 0) throw new Error(`${command} failed (${exitCode ?? 'no answer'}): ${lineOf(stderr)}`);
  return stdout;
}

/** Null if it is not set. */
async function setting(mac: Mac, domain: string, name: string, signal: AbortSignal): Promise<string | null> {
  const { exitCode, stdout } = await mac.run('defaults', ['read', domain, name], signal);
  return exitCode === 0 ? stdout.trim() : null;
}

const lineOf = (text: string) => text.trim().split('\n').at(-1) ?? '';
const majorOf = (version: string) => Number(version.split('.')[0]);

/** ` sleep                0 (sleep prevented by caffeinate)` → { sleep: 0 } */
function pmset(text: string): Record<string, number> {
  return Object.fromEntries(
    [...text.matchAll(/^\s*(\w+)\s+(\d+)\b/gm)].map(([, name, value]) => [name!, Number(value)]),
  );
}

/** Entries in braces, with `ip_address=192.168.64.5` and `lease=0x68d3f2a1`, the second at which it ends. */
function leasesOf(text: string): { address: string; untilMs: number }[] {
  return [...text.matchAll(/\{([^}]*)\}/g)].flatMap(([, entry]) => {
    const address = /^\s*ip_address=(\S+)$/m.exec(entry!)?.[1];
    const until = /^\s*lease=(0x[0-9a-f]+)$/im.exec(entry!)?.[1];
    return address && until ? [{ address, untilMs: Number(until) * 1000 }] : [];
  });
}
