/**
 * Turns the name of an image, `HOST/NAMESPACE:TAG` or `HOST/NAMESPACE@DIGEST`, into its folder below
 * `cache/OCIs`, and back. Tart writes the colon of a port as `%3A`.
 */
import { lstatSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { RuntimeError } from '../failure.ts';
import { entriesOf } from './folders.ts';

export interface ImageReference {
  /** With its port, if it has one. */
  host: string;
  namespace: string;
  /** A tag, or a digest that begins with `sha256:`. */
  reference: string;
}

export const isRemoteName = (name: string) => name.includes('/');
export const isDigest = (reference: string) => reference.startsWith('sha256:');

export function parseReference(name: string): ImageReference {
  const [withoutDigest = '', digest] = name.split('@');
  const colon = withoutDigest.lastIndexOf(':');
  const tagged = colon > withoutDigest.lastIndexOf('/');
  const repository = tagged ? withoutDigest.slice(0, colon) : withoutDigest;
  if (!/^[\w.-]+(:\d+)?(\/[\w-][\w.-]*)+$/.test(repository))
    throw new RuntimeError(`failed to parse remote name: ${name} is not HOST/NAMESPACE[:TAG|@DIGEST]`);
  const slash = repository.indexOf('/');
  return {
    host: repository.slice(0, slash),
    namespace: repository.slice(slash + 1),
    reference: digest ?? (tagged ? withoutDigest.slice(colon + 1) : 'latest'),
  };
}

export function nameOf({ host, namespace, reference }: ImageReference): string {
  return `${host}/${namespace}${isDigest(reference) ? '@' : ':'}${reference}`;
}

export const imagesFolder = (home: string) => join(home, 'cache', 'OCIs');
export const hostFolder = (home: string, host: string) => join(imagesFolder(home), host.replaceAll(':', '%3A'));

export function imageFolder(home: string, name: string): string {
  const { host, namespace, reference } = parseReference(name);
  return join(hostFolder(home, host), ...namespace.split('/'), reference);
}

export function imageName(home: string, folder: string): string {
  const repository = dirname(folder).slice(imagesFolder(home).length + 1);
  return `${repository.replace('%3A', ':')}${isLink(folder) ? ':' : '@'}${basename(folder)}`;
}

/**
 * Throws Tart's error for a tag that is not in the cache. A digest is its own answer, in the cache or not.
 */
export function digestOf(home: string, name: string): string {
  const folder = imageFolder(home, name);
  let digest = basename(folder);
  try {
    digest = basename(realpathSync(folder));
  } catch {
    // It is not in the cache.
  }
  if (isDigest(digest)) return digest;
  throw new RuntimeError(`OCI storage error: ${name} is not a digest and doesn't point to a digest`);
}

/** The folders of all images below this one, and the links to them. */
export function imageFolders(root: string): string[] {
  return entriesOf(root).flatMap((entry) => {
    const path = join(root, entry);
    if (isDigest(entry) || isLink(path)) return [path];
    return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ? imageFolders(path) : [];
  });
}

export function isLink(path: string): boolean {
  try {
    return readlinkSync(path) !== '';
  } catch {
    return false;
  }
}
