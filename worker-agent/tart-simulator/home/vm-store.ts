/**
 * Makes, replaces, renames and removes VMs on disk. No other module does.
 *
 * Invariant: a VM is made in `tmp/` and moved to its place, so that no command sees half of one.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { cpSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { forgetLease } from '../guest/leases.ts';
import { takeFaultsForClone, writeFaults } from './faults.ts';
import { entriesOf } from './folders.ts';
import { parseReference } from './image-names.ts';
import { randomMac, readConfig, type VmConfig, writeConfig } from './vm-config.ts';
import { GB_BYTES, isSuspended, listVms, type Vm } from './vms.ts';

/** Files that a clone does not take over. */
const NOT_CLONED = new Set([
  'running.json',
  'control.sock',
  'faults',
  'disk.img',
  'manifest.json',
  '.explicitly-pulled',
]);

/**
 * The caller has the lock of TART_HOME. Replaces a VM that has the new name, without a word, as Tart does.
 */
export function cloneVm(home: string, source: Vm, name: string): void {
  const draft = join(home, 'tmp', `${process.pid}-${randomUUID()}`);
  mkdirSync(draft, { recursive: true });
  for (const entry of entriesOf(source.folder).filter((entry) => !NOT_CLONED.has(entry)))
    cpSync(join(source.folder, entry), join(draft, entry), { recursive: true, verbatimSymlinks: true });
  makeDisk(draft, statSync(join(source.folder, 'disk.img')).size);
  const config = readConfig(source);
  const taken = listVms(home).some((vm) => vm.source === 'local' && readConfig(vm).macAddress === config.macAddress);
  if (taken && !isSuspended(source)) writeConfig({ folder: draft }, { ...config, macAddress: randomMac() });
  writeFaults(draft, takeFaultsForClone(home));
  putInPlace(draft, join(home, 'vms', name));
}

/** Makes a VM with an empty disk. Replaces one of the same name. */
export function createVm(
  home: string,
  name: string,
  options: { user: string; bootMs?: number; os?: VmConfig['os']; diskGb?: number; diskFormat?: VmConfig['diskFormat'] },
  installGuest: (guestRoot: string) => void,
): void {
  const draft = join(home, 'tmp', `${process.pid}-${randomUUID()}`);
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
  makeDisk(draft, (options.diskGb ?? 50) * GB_BYTES);
  writeFileSync(join(draft, 'nvram.bin'), '');
  installGuest(join(draft, 'guest'));
  putInPlace(draft, join(home, 'vms', name));
}

/** Copies a local VM to the cache, under its digest. The tag is a link to it, and `tart list` shows both. */
export function cacheImage(home: string, source: Vm, reference: string): void {
  const { repository, tag } = parseReference(reference);
  const draft = join(home, 'tmp', `${process.pid}-${randomUUID()}`);
  mkdirSync(draft, { recursive: true });
  cpSync(source.folder, draft, {
    recursive: true,
    filter: (path) => !NOT_CLONED.has(path.slice(source.folder.length + 1)),
  });
  makeDisk(draft, statSync(join(source.folder, 'disk.img')).size);
  writeFileSync(join(draft, 'manifest.json'), '{}\n');
  const digest = `sha256:${createHash('sha256').update(reference).digest('hex')}`;
  const folder = join(home, 'cache', 'OCIs', ...repository.split('/'));
  putInPlace(draft, join(folder, digest));
  rmSync(join(folder, tag), { force: true });
  symlinkSync(digest, join(folder, tag));
}

export function deleteVm(home: string, vm: Vm): void {
  if (vm.source === 'local') forgetLease(home, readConfig(vm).macAddress);
  rmSync(vm.folder, { recursive: true, force: true });
}

export function renameVm(home: string, vm: Vm, name: string): void {
  renameSync(vm.folder, join(home, 'vms', name));
}

/** Removes what commands had begun to make when they ended. */
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
function makeDisk(folder: string, bytes: number): void {
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), bytes);
}

function putInPlace(draft: string, folder: string): void {
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
