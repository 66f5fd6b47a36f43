/**
 * Looks through a source archive on the host before any of it goes into a VM: pure but for reading the file.
 *
 * Invariant: what passes cannot be unpacked to anywhere but its own folder, by any tar: no absolute path, no `..`, no link that leads out,
 * also by way of other links, no device. Sizes are counted before anything is unpacked, and nothing is read past the archive's own end: a
 * few megabytes of compressed zeros behind it are gigabytes.
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { Parser, type ReadEntry } from 'tar';

export const SOURCE_LIMITS = { entriesMax: 500_000, totalBytesMax: 20 * 1024 ** 3 } as const;

const TYPES = new Set(['File', 'OldFile', 'ContiguousFile', 'Directory', 'SymbolicLink', 'Link']);
const LINK_HOPS_MAX = 40;
const SPARSE_NAME = /^\d+ GNU\.sparse\.name=(.*)$/m;
const SPARSE_SIZE = /^\d+ GNU\.sparse\.(?:realsize|size)=(\d+)$/m;

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
      const shown = JSON.stringify(entry.path);
      if (entries > limits.entriesMax) problem ??= `more than ${limits.entriesMax} entries, from ${shown} on`;
      if (totalBytes > limits.totalBytesMax)
        problem ??= `more than ${limits.totalBytesMax} bytes when unpacked, from ${shown} on`;
      entry.resume();
    },
  });
  // What this parser would pass over, the VM's tar may unpack.
  parser.on('ignoredEntry', (entry: ReadEntry) => {
    problem ??= `${JSON.stringify(entry.path)} is a ${entry.type}; only files, folders and links are unpacked`;
  });
  // A file with holes may have another name and another size than its header says.
  parser.on('meta', (text: string) => {
    const name = SPARSE_NAME.exec(text)?.[1];
    if (name !== undefined) problem ??= problemOfPath(name);
    totalBytes += Number(SPARSE_SIZE.exec(text)?.[1] ?? 0);
    if (totalBytes > limits.totalBytesMax)
      problem ??= `more than ${limits.totalBytesMax} bytes when unpacked, from ${JSON.stringify(name ?? 'a file with holes')} on`;
  });
  let sawEnd = false;
  // The parser would keep all that follows in memory, and copy it at each step.
  parser.on('eof', () => {
    sawEnd = true;
    parser.abort(new Error('the end of the archive'));
  });
  let damage: Error | null = null;
  parser.on('error', (error: Error) => {
    if (!sawEnd) damage ??= error;
  });
  const ended = once(parser, 'end', { signal }).catch(() => {});
  for await (const chunk of createReadStream(path, { signal }) as AsyncIterable<Buffer>) {
    if (!parser.write(chunk) && !damage && !sawEnd)
      await Promise.race([once(parser, 'drain', { signal }), once(parser, 'abort', { signal }), ended]);
    if (problem || damage || sawEnd) break;
  }
  signal.throwIfAborted();
  if (!problem && !damage && !sawEnd) {
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
  const problem = problemOfPath(entry.path);
  if (problem) return problem;
  const parts = partsOf(entry.path);
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

function problemOfPath(path: string): string | null {
  const shown = JSON.stringify(path);
  if (path.startsWith('/')) return `${shown} has an absolute path`;
  if (partsOf(path).includes('..')) return `${shown} leads out of the source by ".."`;
  return path.includes('\0') ? `${shown} has a NUL character in its name` : null;
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
