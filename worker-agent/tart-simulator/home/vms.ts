/**
 * Finds the VMs on disk and tells their state.
 *
 * The layout is Tart's own: `$TART_HOME/vms/NAME/{config.json,disk.img,nvram.bin}`, and images below
 * `cache/OCIs`. Beside Tart's files a VM has `guest/` (the content of its disk), `faults/`, and, while
 * `tart run` lives, `running.json`.
 */
import { mkdirSync, readFileSync, statSync, utimesSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { RuntimeError, vmDoesNotExist } from '../failure.ts';
import { isAlive, type ProcessId } from '../processes/process-table.ts';
import { entriesOf, exists } from './folders.ts';
import { imageFolder, imageFolders, imageName, imagesFolder, isRemoteName } from './image-names.ts';
import { bytesOf, extentsIn } from './simulated-disk.ts';

export interface Vm {
  /** The name in `tart list`. The name of an image begins with its registry. */
  name: string;
  source: 'local' | 'OCI';
  folder: string;
}

/**
 * The process that runs a VM, according to `vms/NAME/running.json`. The file counts while that process lives.
 */
export interface RunningMark extends ProcessId {
  runId: string;
}

/** The unit in which Tart prints sizes of disks. */
export const GB_BYTES = 1e9;

const MEMBER_FILES = ['config.json', 'disk.img', 'nvram.bin'];

export function tartHome(): string {
  const home = resolve(process.env.TART_HOME || join(homedir(), '.tart'));
  try {
    mkdirSync(home, { recursive: true });
  } catch (error) {
    throw new RuntimeError(
      `TART_HOME is invalid: ${home} does not exist, yet we can't create it: ${(error as Error).message}`,
    );
  }
  return home;
}

export function vmFolder(home: string, name: string): string {
  if (isRemoteName(name)) return imageFolder(home, name);
  if (name === '' || name === '.' || name === '..') throw vmDoesNotExist(name);
  return join(home, 'vms', name);
}

/** Throws Tart's error for a VM that does not exist or is broken. */
export function openVm(home: string, name: string): Vm {
  const folder = vmFolder(home, name);
  if (!exists(folder)) throw vmDoesNotExist(name);
  if (!isComplete(folder))
    throw new RuntimeError('VM is missing some of its files (config.json, disk.img or nvram.bin)');
  return { name, source: isRemoteName(name) ? 'OCI' : 'local', folder };
}

/** Local VMs by name, then images by name. */
export function listVms(home: string): Vm[] {
  const local = entriesOf(join(home, 'vms'))
    .map((name): Vm => ({ name, source: 'local', folder: join(home, 'vms', name) }))
    .filter(({ folder }) => isComplete(folder));
  const images = imageFolders(imagesFolder(home))
    .filter(isComplete)
    .map((folder): Vm => ({ name: imageName(home, folder), source: 'OCI', folder }));
  return [...local.sort(byName), ...images.sort(byName)];
}

/** The process that runs the VM; undefined if it does not run. */
export function runnerOf(vm: Pick<Vm, 'folder'>): RunningMark | undefined {
  try {
    const mark: RunningMark = JSON.parse(readFileSync(join(vm.folder, 'running.json'), 'utf8'));
    return isAlive(mark) ? mark : undefined;
  } catch {
    return undefined;
  }
}

export const isSuspended = (vm: Vm) => exists(join(vm.folder, 'state.vzvmsave'));

export function stateOf(vm: Vm): 'running' | 'suspended' | 'stopped' {
  if (runnerOf(vm)) return 'running';
  return isSuspended(vm) ? 'suspended' : 'stopped';
}

/** The length of its files, and the space that they take on the host's disk, in bytes. */
export function sizeOf(vm: Vm): { length: number; allocated: number } {
  const files = MEMBER_FILES.map((file) => statSync(join(vm.folder, file)));
  const sum = (figure: (file: (typeof files)[number]) => number) =>
    files.reduce((total, file) => total + figure(file), 0);
  const allocated = sum((file) => file.blocks * 512) + bytesOf(extentsIn(vm.folder));
  return { length: sum((file) => file.size), allocated };
}

export const accessedAt = (vm: Vm): Date => statSync(vm.folder).atime;

/** Notes an access, as most commands do, because Tart prunes by it. */
export function touch(vm: Vm): void {
  utimesSync(vm.folder, new Date(), statSync(vm.folder).mtime);
}

const isComplete = (folder: string) => MEMBER_FILES.every((file) => exists(join(folder, file)));

const byName = (a: Vm, b: Vm) => (a.name < b.name ? -1 : 1);
