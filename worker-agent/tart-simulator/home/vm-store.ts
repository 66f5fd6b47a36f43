/**
 * The VMs on disk, in Tart's own layout: `$TART_HOME/vms/NAME/{config.json,disk.img,nvram.bin}`, images below
 * `cache/OCIs`. The only module that makes, replaces or removes them.
 *
 * Beside Tart's files a VM has `guest/` (what is on its disk), `faults/`, and `running.json` while `tart run` lives.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import {
  cpSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { RuntimeError, vmDoesNotExist } from '../failure.ts';
import { forgetLease } from '../guest/leases.ts';
import { isAlive, type ProcessId } from '../processes/process-table.ts';
import { takeFaultsForClone, writeFaults } from './faults.ts';

export interface VmConfig {
  version: 1;
  os: 'darwin' | 'linux';
  arch: 'arm64';
  macAddress: string;
  cpuCountMin: number;
  cpuCount: number;
  memorySizeMin: number;
  /** Bytes. */
  memorySize: number;
  display: { width: number; height: number; unit?: 'pt' | 'px' };
  displayRefit?: boolean;
  diskFormat: 'raw' | 'asif';
  ecid?: string;
  hardwareModel?: string;
  /** Not Tart's: who logs in, and how long it takes from `run` until SSH answers. */
  simulator: { user: string; bootMs: number };
}

export interface Vm {
  /** As `tart list` shows it; that of an image has its registry in front. */
  name: string;
  source: 'local' | 'OCI';
  folder: string;
}

/** Who runs a VM: `vms/NAME/running.json`. Counts only while that process lives. */
export interface RunningMark extends ProcessId {
  runId: string;
}

const GB = 1e9;
const MEMBER_FILES = ['config.json', 'disk.img', 'nvram.bin'];
/** What a clone does not take over. */
const NOT_CLONED = new Set(['running.json', 'faults', 'disk.img', 'manifest.json', '.explicitly-pulled']);

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

export const isRemoteName = (name: string) => name.includes('/');

export function vmFolder(home: string, name: string): string {
  if (isRemoteName(name)) return imageFolder(home, name);
  if (name === '' || name === '.' || name === '..') throw vmDoesNotExist(name);
  return join(home, 'vms', name);
}

/** Throws Tart's error for a VM that is not there or is broken. */
export function openVm(home: string, name: string): Vm {
  const folder = vmFolder(home, name);
  if (!exists(folder)) throw vmDoesNotExist(name);
  if (!isComplete(folder))
    throw new RuntimeError('VM is missing some of its files (config.json, disk.img or nvram.bin)');
  return { name, source: isRemoteName(name) ? 'OCI' : 'local', folder };
}

/** Local VMs by name, then images by name. */
export function listVms(home: string): Vm[] {
  const local = entries(join(home, 'vms'))
    .map((name): Vm => ({ name, source: 'local', folder: join(home, 'vms', name) }))
    .filter(({ folder }) => isComplete(folder));
  const images = folders(join(home, 'cache', 'OCIs'))
    .filter(isComplete)
    .map((folder): Vm => ({ name: imageName(home, folder), source: 'OCI', folder }));
  return [...local.sort(byName), ...images.sort(byName)];
}

export function readConfig(vm: Vm): VmConfig {
  return JSON.parse(readFileSync(join(vm.folder, 'config.json'), 'utf8'));
}

export function writeConfig(vm: Pick<Vm, 'folder'>, config: VmConfig): void {
  const draft = join(vm.folder, `.config.json.${process.pid}`);
  writeFileSync(draft, `${JSON.stringify(config, null, 2)}\n`);
  renameSync(draft, join(vm.folder, 'config.json'));
}

/** The process that runs the VM. `undefined`: it is not running. */
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

/** The length of the files, and what they take on the host's disk. In bytes. */
export function sizeOf(vm: Vm): { length: number; allocated: number } {
  const files = MEMBER_FILES.map((file) => statSync(join(vm.folder, file)));
  const sum = (figure: (file: (typeof files)[number]) => number) =>
    files.reduce((total, file) => total + figure(file), 0);
  return { length: sum((file) => file.size), allocated: sum((file) => file.blocks * 512) };
}

export const accessedAt = (vm: Vm): Date => statSync(vm.folder).atime;

/** Most commands count as an access, which is what Tart prunes by. */
export function touch(vm: Vm): void {
  utimesSync(vm.folder, new Date(), statSync(vm.folder).mtime);
}

/** Under the lock of TART_HOME. A VM that already has the new name is silently replaced, as Tart does. */
export function cloneVm(home: string, source: Vm, name: string): void {
  const draft = join(home, 'tmp', `${process.pid}-${randomUUID()}`);
  mkdirSync(draft, { recursive: true });
  for (const entry of entries(source.folder).filter((entry) => !NOT_CLONED.has(entry)))
    cpSync(join(source.folder, entry), join(draft, entry), { recursive: true, verbatimSymlinks: true });
  makeDisk(draft, statSync(join(source.folder, 'disk.img')).size);
  const config = readConfig(source);
  const taken = listVms(home).some((vm) => vm.source === 'local' && readConfig(vm).macAddress === config.macAddress);
  if (taken && !isSuspended(source)) writeConfig({ folder: draft }, { ...config, macAddress: randomMac() });
  writeFaults(draft, takeFaultsForClone(home));
  putInPlace(draft, join(home, 'vms', name));
}

/** A new VM with an empty disk. Replaces one of the same name. */
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
  makeDisk(draft, (options.diskGb ?? 50) * GB);
  writeFileSync(join(draft, 'nvram.bin'), '');
  installGuest(join(draft, 'guest'));
  putInPlace(draft, join(home, 'vms', name));
}

/** A local VM as an image in the cache, under its digest, with the tag as a link to it: both are listed. */
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

/** What ended commands left half made. */
export function collectGarbage(home: string): void {
  for (const entry of entries(join(home, 'tmp'))) {
    const owner = Number(entry.split('-')[0]);
    if (owner > 0 && isRunning(owner)) continue;
    rmSync(join(home, 'tmp', entry), { recursive: true, force: true });
  }
}

/** Locally administered and unicast, as Apple's Virtualization makes them. */
export function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return bytes.toString('hex').replace(/..(?=.)/g, '$&:');
}

export function setDiskSize(vm: Vm, bytes: number): void {
  truncateSync(join(vm.folder, 'disk.img'), bytes);
}

/** A file of this length that takes no space: nothing is ever written to it. */
function makeDisk(folder: string, bytes: number): void {
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), bytes);
}

function putInPlace(draft: string, folder: string): void {
  mkdirSync(dirname(folder), { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  renameSync(draft, folder);
}

function parseReference(reference: string): { repository: string; tag: string } {
  const [withoutDigest = '', digest] = reference.split('@');
  const colon = withoutDigest.lastIndexOf(':');
  const tagged = colon > withoutDigest.lastIndexOf('/');
  const repository = tagged ? withoutDigest.slice(0, colon) : withoutDigest;
  if (!/^[\w.-]+(:\d+)?(\/[\w-][\w.-]*)+$/.test(repository))
    throw new RuntimeError(`failed to parse remote name: ${reference} is not HOST/NAMESPACE[:TAG|@DIGEST]`);
  return { repository, tag: digest ?? (tagged ? withoutDigest.slice(colon + 1) : 'latest') };
}

function imageFolder(home: string, reference: string): string {
  const { repository, tag } = parseReference(reference);
  return join(home, 'cache', 'OCIs', ...repository.split('/'), tag);
}

function imageName(home: string, folder: string): string {
  const path = folder.slice(join(home, 'cache', 'OCIs').length + 1);
  const slash = path.lastIndexOf('/');
  return `${path.slice(0, slash)}${lstatSync(folder).isSymbolicLink() ? ':' : '@'}${path.slice(slash + 1)}`;
}

function folders(root: string): string[] {
  return entries(root).flatMap((entry) => {
    const path = join(root, entry);
    if (entry.startsWith('sha256:') || isLink(path)) return [path];
    return lstatSync(path).isDirectory() ? folders(path) : [];
  });
}

function isLink(path: string): boolean {
  try {
    return readlinkSync(path) !== '';
  } catch {
    return false;
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const isComplete = (folder: string) => MEMBER_FILES.every((file) => exists(join(folder, file)));
const byName = (a: Vm, b: Vm) => (a.name < b.name ? -1 : 1);
