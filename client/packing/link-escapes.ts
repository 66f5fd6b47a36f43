/**
 * Finds symbolic links that lead out of a source. Pure: it follows links by the table that it is given.
 *
 * The command checks this before it packs a project, and the agent before it copies an archive into a VM.
 */

/** Linux follows this many links in a row. A longer chain counts as a circle, which leads nowhere. */
const LINK_HOPS_MAX = 40;

/** The parts of a path. `./a//b/` and `a/b` name the same file. */
export const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '' && part !== '.');

/** How two paths compare on a Mac's disk, where neither case nor the form of an accent counts. */
export const onMac = (path: string): string =>
  path
    .normalize('NFD')
    .split('ı') // the only letter whose capital is that of another letter
    .map((part) => part.toLowerCase().toUpperCase())
    .join('ı');

/**
 * Follows each link as the kernel would, through other links, on a disk that distinguishes case and on one
 * that does not. A link that climbs above the root leads out, and so does an absolute one. `links` has the
 * target of each link by its path.
 */
export function* linksThatLeadOut(links: ReadonlyMap<string, string>): Generator<[path: string, target: string]> {
  const linksOnMac = new Map([...links].map(([path, target]) => [onMac(path), target]));
  for (const [path, target] of links)
    if (endOfLink(path, target, links) === 'outside' || endOfLink(path, target, linksOnMac, onMac) === 'outside')
      yield [path, target];
}

/** The parts of the path at which a link ends, with all other links followed. `links` has keys of `keyOf`. */
export function endOfLink(
  path: string,
  target: string,
  links: ReadonlyMap<string, string>,
  keyOf: (path: string) => string = (same) => same,
): string[] | 'outside' | 'circle' {
  if (target.startsWith('/')) return 'outside';
  let hops = 0;
  const here = path.split('/').slice(0, -1);
  const todo = partsOf(target);
  while (todo.length > 0) {
    const part = todo.shift()!;
    if (part !== '..') here.push(part);
    else if (here.pop() === undefined) return 'outside';
    const next = links.get(keyOf(here.join('/')));
    if (part === '..' || next === undefined) continue;
    if (next.startsWith('/')) return 'outside';
    if (++hops > LINK_HOPS_MAX) return 'circle';
    here.pop();
    todo.unshift(...partsOf(next));
  }
  return here;
}
