/**
 * Looks through a source archive on the host before any of it goes into a VM: pure but for reading the file.
 *
 * Invariant: what passes cannot be unpacked to anywhere but its own folder, by any tar: no absolute path, no `..`, no link that leads out,
 * also by way of other links, no device. Sizes are counted before anything is unpacked.
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { Parser, type ReadEntry } from 'tar';

export const SOURCE_LIMITS = { entriesMax: 500_000, totalBytesMax: 20 * 1024 ** 3 } as const;

const TYPES = new Set(['File', 'OldFile', 'ContiguousFile', 'Directory', 'SymbolicLink', 'Link']);
const LINK_HOPS_MAX = 40;

/** Null, or what is wrong with the archive, naming the entry. Rejects only if the file cannot be read, or with the signal's reason. */
export async function findSourceProblem(
  path: string,
  signal: AbortSignal,
  limits: { entriesMax: number; totalBytesMax: number } = SOURCE_LIMITS,
): Promise<string | null> {
  const links = new Map<string, string>();
  let problem: string | null = null;
  let entries = 0;
  let totalBytes = 0;
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      entries++;
      totalBytes += entry.size ?? 0;
      problem ??= problemOfEntry(entry, links);
      if (entries > limits.entriesMax) problem ??= `more than ${limits.entriesMax} entries`;
      if (totalBytes > limits.totalBytesMax) problem ??= `more than ${limits.totalBytesMax} bytes when unpacked`;
      entry.resume();
    },
  });
  let damage: Error | null = null;
  parser.on('error', (error: Error) => {
    damage ??= error;
  });
  const ended = once(parser, 'end', { signal }).catch(() => {});
  for await (const chunk of createReadStream(path, { signal }) as AsyncIterable<Buffer>) {
    if (!parser.write(chunk) && !damage) await Promise.race([once(parser, 'drain', { signal }), ended]);
    if (problem || damage) break;
  }
  signal.throwIfAborted();
  if (!problem && !damage) {
    parser.end();
    await ended;
  }
  if (problem) return problem;
  if (damage) return `not a readable tar archive: ${(damage as Error).message}`;
  if (entries === 0) return 'the archive is empty';
  return problemOfLinks(links);
}

function problemOfEntry(entry: ReadEntry, links: Map<string, string>): string | null {
  const shown = JSON.stringify(entry.path);
  if (!TYPES.has(entry.type)) return `${shown} is a ${entry.type}; only files, folders and links are unpacked`;
  if (entry.path.startsWith('/')) return `${shown} has an absolute path`;
  const parts = partsOf(entry.path);
  if (parts.includes('..')) return `${shown} leads out of the source by ".."`;
  if (entry.path.includes('\0')) return `${shown} has a NUL character in its name`;
  if (entry.type !== 'SymbolicLink' && entry.type !== 'Link') return null;
  const target = entry.linkpath ?? '';
  if (target.startsWith('/')) return `${shown} is a link to the absolute path ${JSON.stringify(target)}`;
  // A hard link's target counts from the root, a symbolic one's from the link's own folder.
  if (entry.type === 'Link') return partsOf(target).includes('..') ? `${shown} is a link out of the source` : null;
  const name = parts.join('/');
  if (links.has(name) && links.get(name) !== target) return `${shown} is there twice, as different links`;
  links.set(name, target);
  return null;
}

/** Follows each link as the kernel would, through other links; one that ever climbs above the root leads out. */
function problemOfLinks(links: ReadonlyMap<string, string>): string | null {
  for (const [name, target] of links) {
    let hops = 0;
    const here = name.split('/').slice(0, -1);
    const todo = partsOf(target);
    while (todo.length > 0) {
      const part = todo.shift()!;
      if (part !== '..') here.push(part);
      else if (here.pop() === undefined)
        return `${JSON.stringify(name)} is a link out of the source, to ${JSON.stringify(target)}`;
      const next = links.get(here.join('/'));
      if (part === '..' || next === undefined) continue;
      if (++hops > LINK_HOPS_MAX) break; // a circle: it leads nowhere
      here.pop();
      todo.unshift(...partsOf(next));
    }
  }
  return null;
}

const partsOf = (path: string) => path.split('/').filter((part) => part !== '' && part !== '.');
