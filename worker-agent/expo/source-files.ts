/**
 * Reads the files of a project out of its source archive, without unpacking it.
 *
 * One pass notes the names of all files, and the contents of small configuration files. Any other file is
 * read by a pass of its own when somebody asks for it.
 *
 * Invariant: the answer is what a tar would have unpacked, or no answer. Of two entries of one name the last
 * one counts. A link inside the source stands for its target, and one that leads nowhere counts as a file
 * that is not there. The memory, and the number of times that the archive is read, are bounded, whatever the
 * archive holds.
 */
import type { ReadEntry } from 'tar';
import { type ArchiveReader, readArchive } from '../../client/packing/archive-entries.ts';
import { partsOf } from '../../client/packing/link-escapes.ts';
import { filesByLink, LINKED_NAMES_MAX } from '../../client/packing/source-links.ts';
import { named } from '../../client/project/formats/text.ts';
import { isAppleDouble, PROJECT_FILE_MAX_BYTES, type ProjectFiles } from '../../client/project/project-files.ts';

export interface SourceLimits {
  /** For the contents that are kept, all together. Other files are read again each time. */
  keptMaxBytes: number;
  /** For the names of all files, all together. A project of 500,000 files has some 40 MB of names. */
  namesMaxBytes: number;
  /** How often the archive is read again for a file. A signed app of many targets needs some 40. */
  passesMax: number;
  /** How many names below links to folders are looked at. */
  linkedNamesMax: number;
}
const MIB = 1024 * 1024;
export const SOURCE_LIMITS: SourceLimits = {
  keptMaxBytes: 64 * MIB,
  namesMaxBytes: 128 * MIB,
  passesMax: 100,
  linkedNamesMax: LINKED_NAMES_MAX,
};

/** The message is a sentence for the submitter. */
export class CostlySource extends Error {
  override name = 'CostlySource';
}

/** No file system of a Mac takes a longer path. */
const PATH_MAX_CHARS = 1_024;

const FILES = ['File', 'OldFile', 'ContiguousFile'];

/** The names of files that say how a project is built. */
const CONFIGURATION = new Set([
  ...['eas.json', 'package.json', 'app.json', 'credentials.json', 'pnpm-workspace.yaml'],
  ...['package-lock.json', 'npm-shrinkwrap.json', 'yarn.lock', 'pnpm-lock.yaml', 'bun.lock', 'bun.lockb'],
  ...['.nvmrc', '.node-version', '.npmrc', '.yarnrc', '.yarnrc.yml', '.gitignore', '.easignore', '.gitmodules'],
  ...['Podfile', 'Podfile.lock', 'Package.resolved', 'Gemfile', 'Gemfile.lock', 'project.pbxproj', 'Info.plist'],
  ...['build.gradle', 'build.gradle.kts', 'AndroidManifest.xml'],
]);
const isConfiguration = (parts: readonly string[]): boolean => {
  const name = parts.at(-1)!;
  if (parts.includes('node_modules')) return false;
  return CONFIGURATION.has(name) || /^app\.config\.[a-z]+$/.test(name) || name.endsWith('.xcscheme');
};

/**
 * Rejects if the archive cannot be read or has too many names, and when aborted. `read` rejects with
 * CostlySource where the archive would have to be read too often.
 */
export async function filesInArchive(
  path: string,
  signal: AbortSignal,
  limits: SourceLimits = SOURCE_LIMITS,
): Promise<ProjectFiles> {
  const survey = new Survey(limits);
  await read(path, survey, signal);
  const files = survey.files();
  const byLink = survey.byLink(files);
  let passes = 0;
  return {
    paths: new Set([...files, ...byLink.keys()]),
    async read(asked) {
      const wanted = byLink.get(asked) ?? asked;
      if (!files.has(wanted)) return null;
      const kept = survey.kept.get(wanted);
      if (kept) return kept;
      if (++passes > limits.passesMax)
        throw new CostlySource(
          `The project names more than ${limits.passesMax} files that say how it is built (the last one is ${named(asked)}), so reading them would take too long: remove those that the build does not need.`,
        );
      const search = new Search(wanted);
      await read(path, search, signal);
      if (search.found) survey.keep(wanted, search.found);
      return search.found;
    },
    isAtHand: (wanted) => survey.kept.has(byLink.get(wanted) ?? wanted),
  };
}

async function read(path: string, reader: ArchiveReader, signal: AbortSignal): Promise<void> {
  const damage = await readArchive(path, reader, signal);
  if (damage) throw new Error(damage);
}

/** Gives `take` the content of an entry once it has been read, unless the file is too large. */
function contentOf(entry: ReadEntry, take: (content: Buffer) => void): void {
  if (entry.size > PROJECT_FILE_MAX_BYTES) return;
  const chunks: Buffer[] = [];
  entry.on('data', (chunk: Buffer) => chunks.push(chunk));
  entry.on('end', () => take(Buffer.concat(chunks)));
}

/**
 * A file with holes has its name in a header of its own, and its content in a form of its own. No
 * configuration is such a file.
 */
const isSparse = (text: string): boolean => text.includes('GNU.sparse.');

class Survey implements ArchiveReader {
  readonly done = false;
  /** By path. */
  readonly kept = new Map<string, Buffer>();
  readonly #limits: SourceLimits;
  readonly #files = new Set<string>();
  /** The targets of symbolic links. */
  readonly #symbolic = new Map<string, string>();
  /** The files that hard links share. */
  readonly #hard = new Map<string, string>();
  /** Files that came twice. A hard link may have the content of the first one. */
  readonly #replaced = new Set<string>();
  #keptBytes = 0;
  #namesBytes = 0;
  #sparse = false;

  constructor(limits: SourceLimits) {
    this.#limits = limits;
  }

  meta(text: string): void {
    this.#sparse = isSparse(text);
  }

  entry(entry: ReadEntry): void {
    const sparse = this.#sparse;
    this.#sparse = false;
    if (entry.path.length > PATH_MAX_CHARS) return;
    const parts = partsOf(entry.path);
    const path = parts.join('/');
    if (this.#files.has(path)) this.#replaced.add(path);
    this.#forget(path);
    if (entry.type === 'Directory' || path === '' || isAppleDouble(path)) return;
    const target = entry.linkpath ?? '';
    if (target.length > PATH_MAX_CHARS) return;
    this.#namesBytes += path.length + target.length;
    if (this.#namesBytes > this.#limits.namesMaxBytes) throw new Error('the archive has too many names of files');
    if (entry.type === 'SymbolicLink') return void this.#symbolic.set(path, target);
    if (entry.type === 'Link') return void this.#hard.set(path, partsOf(target).join('/'));
    if (!FILES.includes(entry.type) || sparse) return;
    this.#files.add(path);
    if (!isConfiguration(parts) || !this.#hasRoom(entry.size)) return;
    contentOf(entry, (content) => this.keep(path, content));
  }

  /** Nothing happens if there is no room for it. */
  keep(path: string, content: Buffer): void {
    if (!this.#hasRoom(content.length)) return;
    this.kept.set(path, content);
    this.#keptBytes += content.length;
  }

  #hasRoom(bytes: number): boolean {
    return this.#keptBytes + bytes <= this.#limits.keptMaxBytes;
  }

  /** Without files below a symbolic link, because no tar puts a file there. */
  files(): ReadonlySet<string> {
    if (this.#symbolic.size > 0) for (const path of this.#files) if (this.#isBelowLink(path)) this.#forget(path);
    return this.#files;
  }

  /** The paths that lead to a file by a link, each with the path of the real file. */
  byLink(files: ReadonlySet<string>): Map<string, string> {
    const hard = [...this.#hard].filter(([, target]) => files.has(target) && !this.#replaced.has(target));
    const whole = hard.length === 0 ? files : new Set([...files, ...hard.map(([path]) => path)]);
    const reached = new Map(hard);
    for (const [path, target] of filesByLink(whole, this.#symbolic, this.#limits.linkedNamesMax))
      reached.set(path, this.#hard.get(target) ?? target);
    return reached;
  }

  #isBelowLink(path: string): boolean {
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1))
      if (this.#symbolic.has(path.slice(0, end))) return true;
    return false;
  }

  #forget(path: string): void {
    this.#files.delete(path);
    this.#symbolic.delete(path);
    this.#hard.delete(path);
    this.#keptBytes -= this.kept.get(path)?.length ?? 0;
    this.kept.delete(path);
  }
}

class Search implements ArchiveReader {
  readonly done = false;
  found: Buffer | null = null;
  readonly #wanted: string;

  constructor(wanted: string) {
    this.#wanted = wanted;
  }

  entry(entry: ReadEntry): void {
    if (partsOf(entry.path).join('/') !== this.#wanted) return;
    this.found = null;
    if (FILES.includes(entry.type)) contentOf(entry, (content) => (this.found = content));
  }
}
