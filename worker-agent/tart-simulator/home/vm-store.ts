/**
 * Makes, replaces, renames and removes local VMs on disk. No other module does so.
 *
 * Invariant: a VM is made in `tmp/` and moved to its place, so that no command sees an unfinished VM.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { cpSync, mkdirSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { forgetLease } from '../guest/leases.ts';
import { takeFaultsForClone, writeFaults } from './faults.ts';
import { entriesOf } from './folders.ts';
import { randomMac, readConfig, type VmConfig, writeConfig } from './vm-config.ts';
import { GB_BYTES, isSuspended, listVms, type Vm } from './vms.ts';

/** Files that a clone does not copy. */
const NOT_CLONED = new Set([
  'running.json',
  'control.sock',
  'faults',
  'disk.img',
  'manifest.json',
  '.explicitly-pulled',
]);

/** An empty folder in `tmp/`, which the next command removes once this process has ended. */
export function makeDraft(home: string): string {
  const draft = join(home, 'tmp', `${process.pid}-${randomUUID()}`);
  mkdirSync(draft, { recursive: true });
  return draft;
}

/** The caller has the lock of TART_HOME. Replaces a VM that has the new name. */
export function cloneVm(home: string, source: Vm, name: string): void {
  const draft = makeDraft(home);
  copyVm(source, draft);
  const config = readConfig(source);
  const taken = listVms(home).some((vm) => vm.source === 'local' && readConfig(vm).macAddress === config.macAddress);
  if (taken && !isSuspended(source)) writeConfig({ folder: draft }, { ...config, macAddress: randomMac() });
  writeFaults(draft, takeFaultsForClone(home));
  putInPlace(draft, join(home, 'vms', name));
}

/** Copies the files of a VM, except its faults and the marks of its run. */
export function copyVm(source: Vm, folder: string): void {
  for (const entry of entriesOf(source.folder).filter((entry) => !NOT_CLONED.has(entry)))
    cpSync(join(source.folder, entry), join(folder, entry), { recursive: true, verbatimSymlinks: true });
  makeDisk(folder, statSync(join(source.folder, 'disk.img')).size);
}

interface VmOptions {
  user: string;
  bootMs?: number | undefined;
  os?: VmConfig['os'];
  diskBytes?: number;
  diskFormat?: VmConfig['diskFormat'];
}

/** Makes a VM with an empty disk. Replaces one of the same name. */
export function createVm(
  home: string,
  name: string,
  options: VmOptions,
  installGuest: (guestRoot: string) => void,
): void {
  const draft = makeDraft(home);
  fillVm(draft, options, installGuest);
  putInPlace(draft, join(home, 'vms', name));
}

/** Writes the files of a new VM into a folder. */
export function fillVm(draft: string, options: VmOptions, installGuest: (guestRoot: string) => void): void {
  mkdirSync(join(draft, 'guest'), { recursive: true });
  writeConfig(
    { folder: draft },
    {
      version: 1,
      os: options.os ?? 'darwin',
      arch: 'arm64',
      macAddress: randomMac(),
      cpuCountMin: 4,
      cpuCount: 4,
      memorySizeMin: 4 * 1024 ** 3,
      memorySize: 8 * 1024 ** 3,
      display: { width: 1024, height: 768 },
      diskFormat: options.diskFormat ?? 'raw',
      ecid: randomBytes(8).toString('base64'),
      hardwareModel: Buffer.from('tartbeat simulator').toString('base64'),
      simulator: { user: options.user, bootMs: options.bootMs ?? 0 },
    },
  );
  makeDisk(draft, options.diskBytes ?? 50 * GB_BYTES);
  writeFileSync(join(draft, 'nvram.bin'), '');
  installGuest(join(draft, 'guest'));
}

export function deleteVm(home: string, vm: Vm): void {
  forgetLease(home, readConfig(vm).macAddress);
  rmSync(vm.folder, { recursive: true, force: true });
}

export function renameVm(home: string, vm: Vm, name: string): void {
  renameSync(vm.folder, join(home, 'vms', name));
}

/** Removes the drafts of commands that ended before they finished them. */
export function collectGarbage(home: string): void {
  for (const entry of entriesOf(join(home, 'tmp'))) {
    const owner = Number(entry.split('-')[0]);
    if (owner > 0 && isRunning(owner)) continue;
    rmSync(join(home, 'tmp', entry), { recursive: true, force: true });
  }
}

export function setDiskSize(vm: Vm, bytes: number): void {
  truncateSync(join(vm.folder, 'disk.img'), bytes);
}

/** Makes a file of this length that takes no space, because nothing is ever written to it. */
export function makeDisk(folder: string, bytes: number): void {
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), bytes);
}

export function putInPlace(draft: string, folder: string): void {
  mkdirSync(dirname(folder), { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  renameSync(draft, folder);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
