/**
 * Checks how Tart and softnet are installed on this Mac, and where Tart keeps its VMs. To add a check, add an
 * entry.
 *
 * Invariant: these checks change nothing.
 */
import { access, constants, readFile, realpath, stat } from 'node:fs/promises';
import { delimiter, join, sep } from 'node:path';
import { inWords } from '../mac/installation.ts';
import type { Mac } from '../mac/programs.ts';
import { vmNameOf } from '../vm/name.ts';
import { answerOf, macosVersion, majorOf, onMac } from './ask-macos.ts';
import { configOf, type HostContext } from './host-context.ts';
import { fail, type HealthCheck, isAtLeast, pass, warn } from './run-checks.ts';

/** From this version on Tart is free for internal use. The licence of earlier ones counts CPU cores. */
const TART_LICENCE_MIN = [2, 33] as const;
/** Its last Tart is 2.32.1, and a newer Homebrew refuses its formula. */
const OLD_TAP = 'cirruslabs/cli';
/** The Tart for each macOS. From 2.35.0 on Tart needs a library that macOS 15 lacks. */
type Version = readonly [number, number];
const FITTING: readonly { macosFrom: number; from: Version; below: Version | null; say: string }[] = [
  { macosFrom: 26, from: [2, 39], below: null, say: '2.39.0 or newer, because older ones fail with VMs of macOS 27' },
  { macosFrom: 15, from: [2, 33], below: [2, 35], say: '2.33.1 or 2.34.0, because newer ones may not start there' },
];
/** The longest path that macOS accepts for a socket, including the zero at its end. */
const SOCKET_PATH_BYTES = 104;
/** As long as the longest name that the agent gives. */
const LONG_VM_NAME = vmNameOf({ workerId: 'w'.repeat(22), buildId: 'b'.repeat(22), attempt: 99 });

const INSTALL = `Run ${inWords('trust-tap', 'add-tap', 'tart')}.`;
const UPDATE = `Run ${inWords('upgrade-tart')}.`;
const MOVE = `Run ${inWords('leave-old-tap', 'forget-old-tap', 'trust-tap', 'add-tap', 'tart')}. VMs and images stay.`;
const PINNED_PATH = '/opt/tart/tart.app/Contents/MacOS/tart';
const PIN = `On macOS 15, run ${inWords('download-tart', 'check-tart', 'folder-of-tart', 'unpack-tart')}. Then set tartPath in the config to ${PINNED_PATH}.`;

export const INSTALLATION_CHECKS: readonly HealthCheck<HostContext>[] = [
  {
    id: 'tart',
    title: 'Tart is installed',
    why: 'Tart makes, starts and deletes the VMs. It may be installed and not be found, because launchd gives programs a short PATH.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: 30_000,
    fix: `${INSTALL} If Homebrew does not know \`trust\`, run ${inWords('update-brew')} first. If Tart is there already, set tartPath in the config to its full path. ${PIN}`,
    async run(context, signal) {
      const result = await context.tart().version(signal);
      if (result.ok) return pass(`version ${result.version}`);
      return result.kind === 'does_not_load' ? fail(result.message, PIN) : fail(result.message);
    },
  },
  {
    id: 'tart_licence',
    title: 'Tart may be used without counting cores',
    why: 'Since 2.33.0 Tart is under FSL-1.1-ALv2, which allows internal use. The Fair Source License of earlier versions limits free use to a number of CPU cores. This check knows the version, but not your use.',
    blocking: false,
    dependsOn: ['tart'],
    timeoutMs: 30_000,
    fix: `Update Tart to 2.33.0 or later, as \`tart_version\` says, or make sure that its older licence covers your use.`,
    async run(context, signal) {
      const result = await context.tart().version(signal);
      if (!result.ok) return fail(result.message);
      if (!isVersion(result.version)) return warn(`version ${result.version}, whose licence is not known`);
      return isAtLeast(result.version, TART_LICENCE_MIN)
        ? pass(`${result.version}: FSL-1.1-ALv2`)
        : warn(`${result.version}: Fair Source License`);
    },
  },
  {
    id: 'tart_version',
    title: 'Tart fits this macOS',
    why: `Tart before 2.39.0 fails while a VM of macOS 27 runs. Tart from 2.35.0 on may not start on macOS 15, where VMs of macOS 27 do not run. The tap ${OLD_TAP} ended with Tart 2.32.1, so no update reaches an installation from there.`,
    blocking: false,
    dependsOn: ['tart'],
    timeoutMs: 30_000,
    fix: `${UPDATE} If Tart came from ${OLD_TAP}, move to the tap that goes on. ${MOVE} ${PIN}`,
    run: onMac(async (mac, context, signal) => {
      const result = await context.tart().version(signal);
      if (!result.ok) return fail(result.message);
      const { version } = result;
      const macos = await macosVersion(mac, signal);
      const fitting = FITTING.find(({ macosFrom }) => majorOf(macos) >= macosFrom);
      const isOld = (await tapOf(configOf(context).tartPath)) === OLD_TAP;
      const fix = majorOf(macos) < 26 ? PIN : isOld ? MOVE : UPDATE;
      if (isOld) return warn(`${version} from the tap ${OLD_TAP}, which gets no newer one`, fix);
      if (!fitting || !isVersion(version)) return pass(`${version} on macOS ${macos}`);
      const fits = isAtLeast(version, fitting.from) && !(fitting.below && isAtLeast(version, fitting.below));
      return fits
        ? pass(`${version} on macOS ${macos}`)
        : warn(`${version}; macOS ${majorOf(macos)} needs ${fitting.say}`, fix);
    }),
  },
  {
    id: 'tart_home',
    title: "Tart's folder can hold VMs",
    why: 'On an APFS disk a clone takes no space until its build writes. On a disk of another format each clone is a whole copy. Tart also makes a socket beside each VM, and macOS allows such a path 104 bytes.',
    blocking: true,
    dependsOn: ['config'],
    timeoutMs: 15_000,
    fix: 'Set tartHome in the config to a folder on an APFS disk, with a path as short as `/Volumes/vms/tart`. Disk Utility formats an external disk as APFS, which erases it.',
    run: onMac(async (mac, context, signal) => {
      const { home } = context.tart();
      const mounts = mountsOf(await answerOf(mac, 'mount', [], signal));
      const volume = /^\/Volumes\/[^/]+/.exec(home)?.[0];
      if (volume && !mounts.some(({ at }) => at === volume))
        return fail(`no disk is mounted at ${volume}`, 'Connect the disk. macOS mounts it when somebody logs in.');
      const there = await realpath(home).catch(() => home);
      const [mount] = mounts.filter(({ at }) => isBelow(there, at)).sort((a, b) => b.at.length - a.at.length);
      if (mount && mount.format !== 'apfs') return fail(`${home} is on a disk of the format ${mount.format}`);
      const bytes = Buffer.byteLength(join(home, 'vms', LONG_VM_NAME, 'control.sock')) + 1;
      return bytes <= SOCKET_PATH_BYTES
        ? pass(home)
        : warn(`the path ${home} is ${bytes - SOCKET_PATH_BYTES} bytes too long for the sockets of VMs`);
    }),
  },
  {
    id: 'softnet',
    title: 'softnet runs as root',
    why: "Isolation uses Tart's softnet, which needs root. Without it Tart asks for a password, which the agent cannot give, and no VM starts. Each update of softnet takes the right away.",
    blocking: false,
    dependsOn: ['config'],
    timeoutMs: 15_000,
    fix: `If softnet is missing, run ${inWords('trust-tap', 'add-tap', 'softnet')}. Then let it run as root with ${inWords('softnet-owner', 'softnet-root')}, now and after each update. Or set "isolation": "nat" in the config.`,
    async run(context, signal) {
      const { isolation } = configOf(context);
      if (isolation === 'nat') return { status: 'skipped', detail: 'isolation "nat" does without softnet' };
      const path = await programOnPath('softnet');
      if (path === null) return warn(`isolation is "${isolation}", but softnet is not installed, so no VM starts`);
      const { uid, mode } = await stat(path);
      if (uid === 0 && mode & 0o4000) return pass(`${path} is SUID root`);
      if (await maySudo(context.mac, path, signal)) return pass('sudo lets it run without a password');
      return warn(`${path} is not SUID root, so no VM starts`);
    },
  },
];

const isVersion = (text: string): boolean => /^\d+\.\d+/.test(text);

/** The tap of Homebrew that this program came from; null if Homebrew did not install it. */
async function tapOf(program: string): Promise<string | null> {
  const path = program.includes(sep) ? await realpath(program).catch(() => null) : await programOnPath(program);
  const keg = path && /^(.*\/Cellar\/[^/]+\/[^/]+)\//.exec(path)?.[1];
  if (!keg) return null;
  try {
    return JSON.parse(await readFile(join(keg, 'INSTALL_RECEIPT.json'), 'utf8')).source?.tap ?? null;
  } catch {
    return null;
  }
}

/** The file that this name leads to, where Tart looks too: on the PATH, with links followed. */
async function programOnPath(name: string): Promise<string | null> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return await realpath(path);
  }
  return null;
}

/** Asks as Tart does: sudo without a password. `-k` ignores a password that was typed a moment ago. */
async function maySudo(mac: Mac, program: string, signal: AbortSignal): Promise<boolean> {
  const ask = ['-k', '-n', program, '--help'];
  const asAccount = mac.uid === 0 ? ['-n', '-u', mac.user, '--', mac.pathOf('sudo'), ...ask] : ask;
  return (await mac.run('sudo', asAccount, signal)).exitCode === 0;
}

/** Reads lines such as `/dev/disk5s1 on /Volumes/vms (apfs, local, journaled)`. */
const mountsOf = (text: string): { at: string; format: string }[] =>
  [...text.matchAll(/^.+? on (\/.*) \((\w+)[,)]/gm)].map(([, at, format]) => ({ at: at!, format: format! }));

const isBelow = (path: string, folder: string): boolean =>
  folder === '/' || path === folder || path.startsWith(`${folder}/`);
