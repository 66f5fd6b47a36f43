/**
 * Reads the files of a project out of its source archive, without unpacking it.
 *
 * One pass notes the names of all files, and the contents of small configuration files. Any other file is
 * read by a pass of its own when somebody asks for it.
 *
 * Invariant: the answer is what a tar would have unpacked, or no answer. Of two entries of one name the last
 * one counts. A link counts as a file that is not there, and so does everything below one. What is kept in
 * memory is bounded, whatever the archive holds.
 */
import type { ReadEntry } from 'tar';
import { isAppleDouble, PROJECT_FILE_MAX_BYTES, type ProjectFiles } from '../../client/project/project-files.ts';
import { type ArchiveReader, partsOf, readArchive } from '../files/archive-entries.ts';

export interface SourceLimits {
  /** For the contents that are kept, all together. Other files are read again each time. */
  keptMaxBytes: number;
  /** For the names of all files, all together. A project of 500,000 files has some 40 MB of names. */
  namesMaxBytes: number;
}
const LIMITS: SourceLimits = { keptMaxBytes: 64 * 1024 * 1024, namesMaxBytes: 128 * 1024 * 1024 };

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

/** Rejects if the archive cannot be read or has too many names, and when aborted. */
export async function filesInArchive(
  path: string,
  signal: AbortSignal,
  limits: SourceLimits = LIMITS,
): Promise<ProjectFiles> {
  const survey = new Survey(limits);
  await read(path, survey, signal);
  const paths = survey.paths();
  return {
    paths,
    async read(wanted) {
      if (!paths.has(wanted)) return null;
      const kept = survey.kept.get(wanted);
      if (kept) return kept;
      const search = new Search(wanted);
      await read(path, search, signal);
      return search.found;
    },
    isAtHand: (wanted) => survey.kept.has(wanted),
  };
}

async function read(path: string, reader: ArchiveReader, signal: AbortSignal): Promise<void> {
  const damage = await readArchive(path, reader, signal);
  if (damage) throw new Error(damage);
}

/** The content of an entry once it has been read. Nothing of a file that is too large. */
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
  /** What is no file and no folder. */
  readonly #links = new Set<string>();
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
    this.#forget(path);
    if (entry.type === 'Directory' || path === '' || isAppleDouble(path)) return;
    this.#namesBytes += path.length;
    if (this.#namesBytes > this.#limits.namesMaxBytes) throw new Error('the archive has too many names of files');
    if (!FILES.includes(entry.type) || sparse) return void this.#links.add(path);
    this.#files.add(path);
    if (!isConfiguration(parts) || this.#keptBytes + entry.size > this.#limits.keptMaxBytes) return;
    contentOf(entry, (content) => {
      this.kept.set(path, content);
      this.#keptBytes += content.length;
    });
  }

  paths(): ReadonlySet<string> {
    if (this.#links.size > 0) for (const path of this.#files) if (this.#isBelowLink(path)) this.#forget(path);
    return this.#files;
  }

  #isBelowLink(path: string): boolean {
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1))
      if (this.#links.has(path.slice(0, end))) return true;
    return false;
  }

  #forget(path: string): void {
    this.#files.delete(path);
    this.#links.delete(path);
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
