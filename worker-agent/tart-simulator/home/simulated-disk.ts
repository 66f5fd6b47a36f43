/**
 * Counts the use of the host's disk, if it is a simulated one: then `$TART_HOME/simulated-disk` is a JSON
 * file that says how large the disk is. Without the file the disk has no end, and nothing is counted.
 *
 * The use of a VM is the sum of its extents, in its config.json. As on APFS, a clone shares the extents of
 * its source, and an extent that several VMs have counts once.
 *
 * Invariant: writes that do not fit are refused, and the lowest free space so far is recorded.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { entriesOf } from './folders.ts';
import { imageFolders, imagesFolder, isLink } from './image-names.ts';
import { lockHome } from './lock.ts';
import { type Extent, readConfig, writeConfig } from './vm-config.ts';

/** The sizes of an image from a registry that does not really exist. */
export interface ImageSizes {
  compressedBytes: number;
  /** The room that the image takes on the disk of the host. */
  allocatedBytes: number;
  /** The size of the disk as seen in the VM. */
  diskBytes: number;
}

export interface SimulatedDisk {
  totalBytes: number;
  /** The room of everything but Tart: macOS, applications, files of people. */
  otherBytes: number;
  /** How much a VM writes from its start to its end. */
  writtenPerRunBytes?: number;
  /** The images of all registries except those on this machine. Default: macos-tahoe-xcode:27. */
  image?: ImageSizes;
}

/** As of 25 September 2026. */
export const XCODE_IMAGE: ImageSizes = { compressedBytes: 62.1e9, allocatedBytes: 81e9, diskBytes: 140e9 };

const file = (home: string) => join(home, 'simulated-disk');
const lowestFile = (home: string) => join(home, 'simulator', 'disk-lowest');

/** Null if the disk has no end. */
export function readDisk(home: string): SimulatedDisk | null {
  try {
    return JSON.parse(readFileSync(file(home), 'utf8'));
  } catch {
    return null;
  }
}

/** Resets `lowestFreeBytes`. */
export function writeDisk(home: string, disk: SimulatedDisk): void {
  mkdirSync(join(home, 'simulator'), { recursive: true });
  writeFileSync(file(home), `${JSON.stringify(disk, null, 2)}\n`);
  writeFileSync(lowestFile(home), String(freeBytes(home)));
}

/** The free space that `df` would print; Infinity for a disk that has no end. */
export function freeBytes(home: string): number {
  const disk = readDisk(home);
  if (!disk) return Number.POSITIVE_INFINITY;
  const extents = new Map<string, number>();
  for (const folder of foldersWithExtents(home))
    for (const { id, bytes } of extentsIn(folder)) extents.set(id, Math.max(bytes, extents.get(id) ?? 0));
  return disk.totalBytes - disk.otherBytes - [...extents.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** The lowest free space since `writeDisk` wrote the file. */
export function lowestFreeBytes(home: string): number {
  try {
    return Number(readFileSync(lowestFile(home), 'utf8'));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** Adds an extent to a VM whose config is in this folder. Throws as Tart does if the disk is full. */
export function allocate(home: string, folder: string, bytes: number): void {
  if (!readDisk(home) || bytes === 0) return;
  using _lock = lockHome(home);
  const free = freeBytes(home) - bytes;
  if (free < 0) throw new Error('The file “disk.img” couldn’t be saved because there isn’t enough space.');
  const config = readConfig({ folder });
  const extents = [...(config.simulator.extents ?? []), { id: randomUUID(), bytes }];
  writeConfig({ folder }, { ...config, simulator: { ...config.simulator, extents } });
  if (free >= lowestFreeBytes(home)) return;
  const draft = `${lowestFile(home)}.${process.pid}`;
  writeFileSync(draft, String(free));
  renameSync(draft, lowestFile(home));
}

export function extentsIn(folder: string): Extent[] {
  try {
    return readConfig({ folder }).simulator.extents ?? [];
  } catch {
    return []; // it is being made, or removed
  }
}

export const bytesOf = (extents: readonly Extent[]) => extents.reduce((sum, { bytes }) => sum + bytes, 0);

/** The folders of VMs, of images, and of those that commands are making or have left unfinished. */
function foldersWithExtents(home: string): string[] {
  const local = ['vms', 'tmp'].flatMap((name) => entriesOf(join(home, name)).map((entry) => join(home, name, entry)));
  return [...local, ...imageFolders(imagesFolder(home)).filter((folder) => !isLink(folder))];
}
