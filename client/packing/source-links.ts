/**
 * Follows the links of a source archive as the kernel does once a tar has unpacked it. Pure.
 *
 * Invariant: a link leads to a file of the source or nowhere, also through other links. The number of names
 * that it looks at is limited for any archive. A file beyond the limit counts as missing.
 */
import { endOfLink } from './link-escapes.ts';

/** The most names below links to folders that are looked at in one source. */
export const LINKED_NAMES_MAX = 100_000;

/**
 * The files that a link leads to, each with the path of the real file. `links` has the targets of the
 * symbolic links, by path. At most `namesMax` names below links to folders are looked at.
 */
export function filesByLink(
  files: ReadonlySet<string>,
  links: ReadonlyMap<string, string>,
  namesMax: number,
): Map<string, string> {
  const reached = new Map<string, string>();
  const toFolders: [string, string][] = [];
  for (const link of links.keys()) {
    const target = realPath(link, links);
    if (target === null) continue;
    if (files.has(target)) reached.set(link, target);
    else toFolders.push([link, target]);
  }
  if (toFolders.length === 0) return reached;
  const names = [...files, ...links.keys()].sort();
  let left = namesMax;
  const look = (shown: string, folder: string, way: readonly string[]): void => {
    const below = folder === '' ? '' : `${folder}/`;
    for (let index = firstFrom(names, below); names[index]?.startsWith(below); index++) {
      if (left-- <= 0) return;
      const name = names[index]!;
      const path = `${shown}/${name.slice(below.length)}`;
      const target = links.has(name) ? realPath(name, links) : name;
      if (target === null) continue;
      if (files.has(target)) reached.set(path, target);
      // Otherwise it would enter a folder on its own way again without end.
      else if (!isAbove(target, [name, ...way])) look(path, target, [name, target, ...way]);
    }
  };
  for (const [link, target] of toFolders) if (!isAbove(target, [link])) look(link, target, [link, target]);
  return reached;
}

/** Null if it leads out of the source, or in a circle. The root is an empty text. */
function realPath(path: string, links: ReadonlyMap<string, string>): string | null {
  const end = endOfLink('', path, links);
  return typeof end === 'string' ? null : end.join('/');
}

const isAbove = (folder: string, paths: readonly string[]): boolean =>
  folder === '' || paths.some((path) => path === folder || path.startsWith(`${folder}/`));

/** The index of the first name that is not before `text`. */
function firstFrom(names: readonly string[], text: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (names[middle]! < text) low = middle + 1;
    else high = middle;
  }
  return low;
}
