/**
 * Finds the secret files of a build, which a person, expo-build.json or credentials.json names. Each keeps
 * its path in the source.
 *
 * Invariant: a path that stands in a file of the project names nothing outside the source, also not through a
 * link, and nothing in `.git` or `node_modules`. Only a path that a person types may do so, because the
 * author of the project may be a stranger, and `.git/config` may have the token of the person who cloned it.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';
import { SECRET_FILE_MAX_BYTES, SECRET_FILES_MAX } from '#contract';
import { EXPO_BUILD_JSON, readExpoBuildJson } from '../project/expo-build-json.ts';
import { readJson } from '../project/formats/json.ts';
import { named } from '../project/formats/text.ts';
import { isLeftOut, LEFT_OUT, pathIn } from '../project/project-files.ts';
import { isBelow, realPathOf } from '../safe-files.ts';
import { fileBeside } from './files-of-source.ts';
import type { Source } from './list-source.ts';
import { looksNeeded } from './secret-looking.ts';
import { SourceError } from './source-error.ts';
import type { Warning } from './warnings.ts';

const JSON_LIMITS = { maxBytes: 256 * 1024, maxDepth: 20 };
/** Ignored folders that programs fill, often with very many files. */
const MADE_BY_PROGRAMS =
  /^(node_modules|\.git|Pods|build|DerivedData|\.gradle|\.cxx|\.expo|\.next|dist|vendor|coverage)$/;
const ENTRIES_MAX = 20_000;
const DEPTH_MAX = 8;

export interface SecretFile {
  /** The path at which the build finds it, relative to the root of the source. */
  path: string;
  /** Its path on this disk. */
  file: string;
  sizeBytes: number;
  namedBy: 'flag' | typeof EXPO_BUILD_JSON | 'credentials.json';
}

export interface SecretFiles {
  sent: SecretFile[];
  /** Named in a file of the project, but not on this disk. */
  missing: { path: string; namedBy: SecretFile['namedBy'] }[];
  /** Ignored files that a build may need, but that neither a person nor a file names. */
  notSent: string[];
  warnings: Warning[];
}

/** `typed` counts from `cwd`. Throws a SourceError that says what to correct. */
export async function findSecretFiles(source: Source, typed: readonly string[], cwd: string): Promise<SecretFiles> {
  const found = new Found(source);
  for (const path of typed) found.addTyped(path, resolve(cwd, path));
  const remembered = await readExpoBuildJson(fileBeside(source, EXPO_BUILD_JSON), source.appRoot);
  if (!remembered.ok) throw new SourceError(remembered.problem);
  for (const path of remembered.value.secretFiles) found.addFromProject(path, EXPO_BUILD_JSON);
  const credentials = await found.json('credentials.json');
  if (credentials !== null) {
    found.addFromProject('credentials.json', 'credentials.json');
    for (const path of pathsOfCredentials(credentials)) found.addFromProject(path, 'credentials.json');
  }
  return found.all();
}

class Found {
  readonly #source: Source;
  readonly #inArchive: ReadonlySet<string>;
  readonly #sent = new Map<string, SecretFile>();
  readonly #missing: SecretFiles['missing'] = [];
  readonly #warnings: Warning[] = [];

  constructor(source: Source) {
    this.#source = source;
    this.#inArchive = new Set(source.files.map(({ path }) => path));
  }

  /** The value of a JSON file beside eas.json, or null if there is none. */
  async json(name: string): Promise<unknown> {
    const read = await readJson(fileBeside(this.#source, name), pathIn(this.#source.appRoot, name)!, JSON_LIMITS);
    if (read === null) return null;
    if (!read.ok) throw new SourceError(read.problem);
    return read.value;
  }

  addTyped(typed: string, file: string): void {
    const real = realPathOf(file);
    if (real === null) throw new SourceError(`--secret-file ${typed}: there is no such file.`);
    const { root } = this.#source;
    const inProject = isBelow(root, file) ? relative(root, file) : isBelow(root, real) ? relative(root, real) : null;
    // In the VM, a file from outside lies at the root of the source.
    const path = inProject === null ? basename(file) : inProject.split(sep).join('/');
    this.#add(path, real, 'flag', `--secret-file ${typed}`);
    if (!this.#inArchive.has(path)) return;
    const inArchive =
      'This file goes in the archive too, where everybody who can read the source has it. Ignore it, and remove it from git.';
    const over = `In the VM ${JSON.stringify(file)} lies in the place of this file of the project. Rename it if it should not.`;
    this.#warnings.push(
      inProject === null
        ? { code: 'secret_file_over_another', path, message: over }
        : { code: 'secret_in_archive', path, message: inArchive },
    );
  }

  addFromProject(path: string, namedBy: Exclude<SecretFile['namedBy'], 'flag'>): void {
    const { root, appRoot } = this.#source;
    const place = pathIn(appRoot, path);
    const outside = new SourceError(
      `${namedBy} names ${named(path)}, which leads out of ${root}. Only \`--secret-file\`, typed by a person, may name such a file.`,
    );
    if (place === null || place === '.') throw outside;
    const real = realPathOf(join(root, place));
    const leadsTo = real !== null && isBelow(root, real) ? relative(root, real) : '';
    if (isLeftOut(place) || isLeftOut(leadsTo))
      throw new SourceError(
        `${namedBy} names ${named(path)}, which lies in ${LEFT_OUT.join(' or ')}. Only \`--secret-file\`, typed by a person, may name such a file.`,
      );
    if (real === null) return void this.#missing.push({ path: place, namedBy });
    if (!isBelow(root, real)) throw outside;
    if (!this.#inArchive.has(place)) this.#add(place, real, namedBy, `${namedBy} names ${named(path)}:`);
  }

  #add(path: string, file: string, namedBy: SecretFile['namedBy'], says: string): void {
    const stats = lstatSync(file);
    if (!stats.isFile()) throw new SourceError(`${says} is not a file. Name each file.`);
    if (stats.size > SECRET_FILE_MAX_BYTES)
      throw new SourceError(
        `${says} has ${stats.size} bytes, but a secret file has at most ${SECRET_FILE_MAX_BYTES}. Use \`--include\` for a large file that is no secret.`,
      );
    const other = this.#sent.get(path);
    if (other && other.file !== file)
      throw new SourceError(
        `${JSON.stringify(other.file)} and ${JSON.stringify(file)} are two secret files, and both would lie at ${named(path)} in the VM. Rename one.`,
      );
    if (!other) this.#sent.set(path, { path, file, sizeBytes: stats.size, namedBy });
    if (this.#sent.size > SECRET_FILES_MAX)
      throw new SourceError(`More than ${SECRET_FILES_MAX} secret files are named. A build takes no more.`);
  }

  all(): SecretFiles {
    const sent = [...this.#sent.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
    const notSent = neededOnes(this.#source).filter((path) => !this.#sent.has(path) && !this.#inArchive.has(path));
    return { sent, missing: this.#missing, notSent, warnings: this.#warnings };
  }
}

/** Paths of files that a rule leaves out, but whose name is that of a file that builds need. */
function neededOnes({ root, leftOut }: Source): string[] {
  const needed = new Set<string>();
  let looked = 0;
  const look = (folder: string, depth: number) => {
    if (depth > DEPTH_MAX || MADE_BY_PROGRAMS.test(basename(folder))) return;
    let entries: ReturnType<typeof entriesOf>;
    try {
      entries = entriesOf(join(root, folder));
    } catch {
      return; // this account cannot read it, so no build needs it
    }
    for (const entry of entries) {
      if (++looked > ENTRIES_MAX) return;
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) look(path, depth + 1);
      else if (entry.isFile() && looksNeeded(path)) needed.add(path);
    }
  };
  for (const { path, why } of leftOut) {
    if (why !== 'ignored' && why !== 'easignore' && why !== 'secret') continue;
    if (path.endsWith('/')) look(path.slice(0, -1), 0);
    else if (looksNeeded(path)) needed.add(path);
  }
  return [...needed].sort();
}

const entriesOf = (folder: string) => readdirSync(folder, { withFileTypes: true });

/** The files that credentials.json names, for all targets and both platforms. */
function pathsOfCredentials(value: unknown, key = '', above = ''): string[] {
  if (typeof value === 'string') {
    const isFile =
      key === 'provisioningProfilePath' ||
      key === 'keystorePath' ||
      (key === 'path' && above === 'distributionCertificate');
    return isFile && value !== '' ? [value] : [];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => pathsOfCredentials(inner, name, key));
}
