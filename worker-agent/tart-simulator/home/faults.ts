/**
 * Turns faults of a VM on and off, and tells which are on. No other module writes the files of faults.
 *
 * A fault is a file of its name in the VM's folder. It is on while the file exists, and the content of the
 * file is its value. A fault is given as `name` or `name:value`, such as `freeze`, `slow-boot:5000`,
 * `monitor-kill:once`.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { entriesOf } from './folders.ts';

/** Faults of the VM, and their effect. */
export const VM_FAULTS = {
  'boot-hang': 'runs, but never boots: no address, no SSH',
  'slow-boot': 'boots this many milliseconds late',
  'no-ip': 'never shows an address',
  'stale-ip': 'shows an address at which another VM answers',
  'no-ssh': 'refuses SSH connections and drops those that are open',
  'ssh-hang': 'accepts SSH connections and is silent',
  freeze: 'everything in the VM stops, as with SIGSTOP, until the fault is cleared',
  'short-freeze': 'as freeze, for this many milliseconds, by default 4,000',
  crash: 'the guest crashes: `tart run` ends with exit code 0',
  'guest-reboot': 'the guest restarts once and boots for this many milliseconds; `tart run` lives on',
  'guest-panic': 'as guest-reboot, but at once, without a signal to any process, and with a report of the panic',
  'dead-restart': 'the guest restarts and never comes back; `tart run` lives on',
  'out-of-memory': 'the kernel kills, once, the processes whose command line begins with the value, and reports it',
  'disk-full': 'df says 100 %, and writing to files fails',
  'monitor-kill': 'the monitor is killed whenever it is found; with the value `once`, a single time',
  'net-cut': 'the network forwards nothing, in open connections too; SSH stays up',
  'net-gone': 'the VM lives without a network: nothing of it answers, SSH neither; `tart exec` does',
  'no-guest-agent': 'nobody answers `tart exec`, as in an image without a guest agent',
  'clock-skew': 'the clock of the VM is off by this many seconds until it is set',
  'clock-stuck': 'the clock of the VM cannot be set',
  'run-limit': 'the host believes that two other VMs are running',
  'list-race': 'another process deletes VMs all the time: one `tart list` in three fails',
  'disk-null': '`tart list` shows no size of its disk while it runs',
  'delete-lies': '`tart delete` says so many times, by default once, that it does not exist, and deletes nothing',
} as const;

/**
 * Commands that have the faults `COMMAND-fail`, `COMMAND-hang` and `COMMAND-slow` (by this many
 * milliseconds).
 */
const FALLIBLE_COMMANDS = ['list', 'get', 'ip', 'clone', 'set', 'run', 'stop', 'delete', 'exec'] as const;

export const FAULT_NAMES: readonly string[] = [
  ...Object.keys(VM_FAULTS),
  ...FALLIBLE_COMMANDS.flatMap((command) => [`${command}-fail`, `${command}-hang`, `${command}-slow`]),
  'list-garbage',
  'ip-garbage',
];

/** From the name to the value, which is empty for most. */
export type Faults = ReadonlyMap<string, string>;

/** The VM notices the fault within 200 ms. Throws if there is no such fault or no such VM. */
export function setFault(tartHome: string, vmName: string, fault: string): void {
  const vmFolder = join(tartHome, 'vms', vmName);
  parseFault(fault);
  if (!existsSync(vmFolder)) throw new Error(`There is no VM "${vmName}" in ${tartHome}.`);
  writeFaults(vmFolder, [fault]);
}

/** Throws if there is no such fault. A fault that is off stays off. */
export function clearFault(tartHome: string, vmName: string, fault: string): void {
  forgetFault(join(tartHome, 'vms', vmName), parseFault(fault).name);
}

/** Gives faults to the next new VM. Each clone takes all faults of the oldest waiting call. */
export function faultNextClone(tartHome: string, ...faults: string[]): void {
  for (const fault of faults) parseFault(fault);
  const folder = waitingFolder(tartHome);
  mkdirSync(folder, { recursive: true });
  const next = 1 + Math.max(0, ...waiting(folder).map(Number));
  const draft = join(folder, `.${process.pid}-${next}`);
  writeFileSync(draft, faults.join('\n'));
  renameSync(draft, join(folder, String(next)));
}

/** `clone` calls this while it has the lock of TART_HOME. */
export function takeFaultsForClone(tartHome: string): string[] {
  const oldest = oldestWaiting(tartHome);
  if (oldest === undefined) return [];
  const faults = readFileSync(oldest, 'utf8').split('\n');
  rmSync(oldest);
  return faults;
}

/**
 * The faults that wait for the next clone and concern the command itself: it fails, hangs or is slow. A clone
 * that fails or hangs uses them up.
 */
export function takeWaitingCommandFault(tartHome: string): Faults {
  const oldest = oldestWaiting(tartHome);
  if (oldest === undefined) return new Map();
  const faults = new Map(
    readFileSync(oldest, 'utf8')
      .split('\n')
      .map(parseFault)
      .filter(({ name }) => name.startsWith('clone-'))
      .map(({ name, value }) => [name, value]),
  );
  if (faults.has('clone-fail') || faults.has('clone-hang')) rmSync(oldest);
  return faults;
}

export function writeFaults(vmFolder: string, faults: readonly string[]): void {
  mkdirSync(faultsFolder(vmFolder), { recursive: true });
  for (const fault of faults) writeFault(faultsFolder(vmFolder), fault);
}

/** Counts down a fault that is played a number of times, by default once. False if none is left. */
export function takeOneOf(vmFolder: string, name: string): boolean {
  const value = readFaults(vmFolder).get(name);
  if (value === undefined) return false;
  const left = Number(value || 1) - 1;
  if (left > 0) writeFaults(vmFolder, [`${name}:${left}`]);
  else forgetFault(vmFolder, name);
  return true;
}

/** Removes a fault that is played once. */
export function forgetFault(vmFolder: string, name: string): void {
  rmSync(join(faultsFolder(vmFolder), name), { force: true });
}

export function readFaults(vmFolder: string): Faults {
  const folder = faultsFolder(vmFolder);
  const faults = new Map<string, string>();
  for (const name of entriesOf(folder)) {
    if (name.startsWith('.')) continue;
    try {
      faults.set(name, readFileSync(join(folder, name), 'utf8').trim());
    } catch {
      // It was cleared in between.
    }
  }
  return faults;
}

export function parseFault(fault: string): { name: string; value: string } {
  const [name = '', ...value] = fault.split(':');
  if (!FAULT_NAMES.includes(name))
    throw new RangeError(`There is no fault "${name}". There are: ${FAULT_NAMES.join(', ')}.`);
  return { name, value: value.join(':') };
}

function writeFault(folder: string, fault: string): void {
  const { name, value } = parseFault(fault);
  const draft = join(folder, `.${name}`);
  writeFileSync(draft, value);
  renameSync(draft, join(folder, name)); // atomic, so that a reader of the file sees the value
}

const faultsFolder = (vmFolder: string) => join(vmFolder, 'faults');
const waitingFolder = (tartHome: string) => join(tartHome, 'faults-for-next-clones');
const waiting = (folder: string) => entriesOf(folder).filter((name) => /^\d+$/.test(name));

function oldestWaiting(tartHome: string): string | undefined {
  const folder = waitingFolder(tartHome);
  const oldest = waiting(folder).sort((a, b) => Number(a) - Number(b))[0];
  return oldest === undefined ? undefined : join(folder, oldest);
}
