/**
 * Keeps the images of registries in `cache/OCIs`, each under its digest. A tag is a link to a digest. No
 * other module changes this folder.
 *
 * Invariant: as in Tart, an image that was pulled by a tag is deleted with its last tag, and one that was
 * pulled by its digest stays until a command deletes it.
 */
import { mkdirSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { entriesOf, exists } from './folders.ts';
import { type ImageReference, imageFolder, imageFolders, imagesFolder, isLink, nameOf } from './image-names.ts';
import { freeBytes } from './simulated-disk.ts';
import { putInPlace } from './vm-store.ts';
import { accessedAt, listVms, sizeOf, type Vm } from './vms.ts';

const EXPLICIT = '.explicitly-pulled';

/** Something that Tart's pruning may remove. */
interface Prunable {
  folder: string;
  accessedAt: Date;
  bytes: number;
  remove(): void;
}

export const isCached = (home: string, name: ImageReference) =>
  ['config.json', 'disk.img', 'nvram.bin'].every((file) => exists(join(imageFolder(home, nameOf(name)), file)));

export function isLinked(home: string, from: ImageReference, to: ImageReference): boolean {
  const [link, folder] = [imageFolder(home, nameOf(from)), imageFolder(home, nameOf(to))];
  return isLink(link) && exists(link) && exists(folder) && realpathSync(link) === realpathSync(folder);
}

/** Moves a draft from `tmp/` into place as the image of that digest. */
export function putImage(home: string, draft: string, digestName: ImageReference): void {
  putInPlace(draft, imageFolder(home, nameOf(digestName)));
}

/** Makes another name lead to the image, or notes that it was pulled by its digest. */
export function nameImage(home: string, name: ImageReference, digestName: ImageReference): void {
  const folder = imageFolder(home, nameOf(name));
  if (nameOf(name) === nameOf(digestName)) {
    writeFileSync(join(folder, EXPLICIT), '');
    return;
  }
  mkdirSync(dirname(folder), { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  symlinkSync(digestName.reference, folder);
  collectImages(home);
}

export function deleteImage(home: string, image: Vm): void {
  rmSync(image.folder, { recursive: true, force: true });
  collectImages(home);
}

/** Removes links without a target, and images that no tag leads to and nobody pulled by their digest. */
export function collectImages(home: string): void {
  const named = new Set<string>();
  const all = imageFolders(imagesFolder(home));
  for (const link of all.filter(isLink)) {
    if (exists(link)) named.add(realpathSync(link));
    else rmSync(link, { force: true });
  }
  for (const folder of all.filter((one) => !isLink(one)))
    if (!named.has(realpathSync(folder)) && !exists(join(folder, EXPLICIT))) rmSync(folder, { recursive: true });
}

/** Images and downloaded IPSW files. */
export function cachedThings(home: string): Prunable[] {
  const images = listVms(home)
    .filter((vm) => vm.source === 'OCI' && !isLink(vm.folder))
    .map((vm) => ({
      folder: vm.folder,
      accessedAt: accessedAt(vm),
      bytes: sizeOf(vm).allocated,
      remove: () => deleteImage(home, vm),
    }));
  const files = entriesOf(join(home, 'cache', 'IPSWs')).map((name) => {
    const file = join(home, 'cache', 'IPSWs', name);
    const { atime, blocks } = statSync(file);
    return { folder: file, accessedAt: atime, bytes: blocks * 512, remove: () => rmSync(file, { force: true }) };
  });
  return [...images, ...files].sort((a, b) => a.accessedAt.getTime() - b.accessedAt.getTime());
}

/**
 * Does what Tart does at each pull and each clone: if too little is free, it removes cached things, oldest
 * first, but never `initiator`. It removes nothing if all of them together would not be enough.
 */
export function reclaim(home: string, neededBytes: number, initiator?: string): void {
  if ('TART_NO_AUTO_PRUNE' in process.env) return;
  let missing = neededBytes - freeBytes(home);
  const things = cachedThings(home);
  if (missing <= 0 || things.reduce((sum, { bytes }) => sum + bytes, 0) < missing) return;
  for (const thing of things) {
    if (missing <= 0) return;
    if (initiator !== undefined && realpathSync(initiator) === realpathSync(thing.folder)) continue;
    thing.remove();
    missing -= thing.bytes;
  }
}
