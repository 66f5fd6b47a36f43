/** Turns the name of an image, `HOST/NAMESPACE:TAG`, into its folder below `cache/OCIs`, and back. */
import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { RuntimeError } from '../failure.ts';
import { entriesOf } from './folders.ts';

export const isRemoteName = (name: string) => name.includes('/');

export function parseReference(reference: string): { repository: string; tag: string } {
  const [withoutDigest = '', digest] = reference.split('@');
  const colon = withoutDigest.lastIndexOf(':');
  const tagged = colon > withoutDigest.lastIndexOf('/');
  const repository = tagged ? withoutDigest.slice(0, colon) : withoutDigest;
  if (!/^[\w.-]+(:\d+)?(\/[\w-][\w.-]*)+$/.test(repository))
    throw new RuntimeError(`failed to parse remote name: ${reference} is not HOST/NAMESPACE[:TAG|@DIGEST]`);
  return { repository, tag: digest ?? (tagged ? withoutDigest.slice(colon + 1) : 'latest') };
}

export function imageFolder(home: string, reference: string): string {
  const { repository, tag } = parseReference(reference);
  return join(home, 'cache', 'OCIs', ...repository.split('/'), tag);
}

export function imageName(home: string, folder: string): string {
  const path = folder.slice(join(home, 'cache', 'OCIs').length + 1);
  const slash = path.lastIndexOf('/');
  return `${path.slice(0, slash)}${lstatSync(folder).isSymbolicLink() ? ':' : '@'}${path.slice(slash + 1)}`;
}

/** The folders of all images below this one. */
export function imageFolders(root: string): string[] {
  return entriesOf(root).flatMap((entry) => {
    const path = join(root, entry);
    if (entry.startsWith('sha256:') || isLink(path)) return [path];
    return lstatSync(path).isDirectory() ? imageFolders(path) : [];
  });
}

function isLink(path: string): boolean {
  try {
    return readlinkSync(path) !== '';
  } catch {
    return false;
  }
}
