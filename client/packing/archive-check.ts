/**
 * Looks through an archive that a stranger may have made, before any of it is unpacked: the source of a
 * build, and an app that a build has made. It reads only this file.
 *
 * Invariant: any tar unpacks an archive that passes only into its own folder. It has no absolute path, no
 * `..`, no device, and no link that leads out, also not through other links. Sizes are counted before
 * anything is unpacked.
 */
import type { ReadEntry } from 'tar';
import { SOURCE_BYTES_MAX, SOURCE_ENTRIES_MAX } from '#contract';
import { type ArchiveReader, readArchive } from './archive-entries.ts';
import { linksThatLeadOut, onMac, partsOf } from './link-escapes.ts';

export const SOURCE_LIMITS = { entriesMax: SOURCE_ENTRIES_MAX, totalBytesMax: SOURCE_BYTES_MAX } as const;
type SourceLimits = { [name in keyof typeof SOURCE_LIMITS]: number };

const TYPES = new Set(['File', 'OldFile', 'ContiguousFile', 'Directory', 'SymbolicLink', 'Link']);
const SPARSE_NAME = /^\d+ GNU\.sparse\.name=(.*)$/m;
const SPARSE_SIZE = /^\d+ GNU\.sparse\.(?:realsize|size)=(\d+)$/m;

/** Null, or the problem and its entry. Rejects if the file cannot be read, and when aborted. */
export async function findSourceProblem(
  path: string,
  signal: AbortSignal,
  limits: SourceLimits = SOURCE_LIMITS,
): Promise<string | null> {
  const review = new Review(limits);
  const damage = await readArchive(path, review, signal);
  return review.problem ?? damage ?? review.problemOfWhole();
}

/** Checks each entry of an archive, and keeps the first problem. */
class Review implements ArchiveReader {
  problem: string | null = null;
  readonly #limits: SourceLimits;
  /** The targets of the symbolic links, by path. */
  readonly #links = new Map<string, string>();
  /** The same targets, by the path as a Mac compares it. */
  readonly #linksOnMac = new Map<string, string>();
  #entries = 0;
  #totalBytes = 0;

  constructor(limits: SourceLimits) {
    this.#limits = limits;
  }

  get done(): boolean {
    return this.problem !== null;
  }

  entry(entry: ReadEntry): void {
    const { entriesMax } = this.#limits;
    const shown = JSON.stringify(entry.path);
    this.#entries++;
    this.problem ??= problemOfEntry(entry) ?? this.#problemOfLink(entry);
    if (this.#entries > entriesMax) this.problem ??= `more than ${entriesMax} entries, from ${shown} on`;
    this.#count(entry.size ?? 0, shown);
  }

  ignoredEntry(entry: ReadEntry): void {
    this.problem ??= problemOfType(entry);
  }

  /** A header that changes the next entry: a file with holes may get another name and another size. */
  meta(text: string): void {
    const name = SPARSE_NAME.exec(text)?.[1];
    if (name !== undefined) this.problem ??= problemOfPath(name);
    this.#count(Number(SPARSE_SIZE.exec(text)?.[1] ?? 0), JSON.stringify(name ?? 'a file with holes'));
  }

  /** Null, or a problem of the archive as a whole, after each entry was checked. */
  problemOfWhole(): string | null {
    return this.#entries === 0 ? 'the archive is empty' : problemOfLinks(this.#links);
  }

  #problemOfLink({ type, path, linkpath: target = '' }: ReadEntry): string | null {
    if (type !== 'SymbolicLink') return null;
    const name = partsOf(path).join('/');
    const there = this.#linksOnMac.get(onMac(name));
    if (there !== undefined && there !== target) return `${JSON.stringify(path)} is there twice, as different links`;
    this.#links.set(name, target);
    this.#linksOnMac.set(onMac(name), target);
    return null;
  }

  #count(bytes: number, shown: string): void {
    const { totalBytesMax } = this.#limits;
    this.#totalBytes += bytes;
    if (this.#totalBytes > totalBytesMax)
      this.problem ??= `more than ${totalBytesMax} bytes when unpacked, from ${shown} on`;
  }
}

function problemOfEntry(entry: ReadEntry): string | null {
  const shown = JSON.stringify(entry.path);
  if (!TYPES.has(entry.type)) return problemOfType(entry);
  const problem = problemOfPath(entry.path);
  if (problem) return problem;
  if (entry.type !== 'SymbolicLink' && entry.type !== 'Link') return null;
  const target = entry.linkpath ?? '';
  if (target.startsWith('/')) return `${shown} is a link to the absolute path ${JSON.stringify(target)}`;
  // The target of a hard link counts from the root, that of a symbolic link from the folder of the link.
  return entry.type === 'Link' && partsOf(target).includes('..') ? `${shown} is a link out of the source` : null;
}

const problemOfType = ({ path, type }: ReadEntry) =>
  `${JSON.stringify(path)} is a ${type}; only files, folders and links are unpacked`;

function problemOfPath(path: string): string | null {
  const shown = JSON.stringify(path);
  if (path.startsWith('/')) return `${shown} has an absolute path`;
  if (partsOf(path).includes('..')) return `${shown} leads out of the source by ".."`;
  return path.includes('\0') ? `${shown} has a NUL character in its name` : null;
}

function problemOfLinks(links: ReadonlyMap<string, string>): string | null {
  for (const [name, target] of linksThatLeadOut(links))
    return `${JSON.stringify(name)} is a link out of the source, to ${JSON.stringify(target)}`;
  return null;
}
