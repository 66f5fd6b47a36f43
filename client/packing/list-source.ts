/**
 * Decides which files of a project go along to a build.
 *
 * Git's own view decides. An .easignore at the root or beside eas.json replaces it, each for its own folder.
 * Without git, the .gitignore files decide.
 *
 * Invariant: an ignored file that looks like a secret is listed only if a person has typed a glob for it. An
 * .easignore and expo-build.json come from the project, so they bring none.
 *
 * Invariant: each listed path lies below the root, and no folder on the way to it is a link. A listed link
 * does not lead out of the root.
 */
import { type Dirent, lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative, resolve, sep } from 'node:path';
import picomatch from 'picomatch';
import { SOURCE_BYTES_MAX, SOURCE_ENTRIES_MAX } from '#contract';
import { type IgnoreRules, ignoreRules } from '../project/formats/gitignore.ts';
import { isAppleDouble, isLeftOut, LEFT_OUT, pathIn } from '../project/project-files.ts';
import { bytesBelow, bytesOf, isBelow, realPathOf } from '../safe-files.ts';
import { type GitView, withGitView } from './git.ts';
import { type LeftOut, type RulesOfFolder, walk } from './ignore-walk.ts';
import { linksThatLeadOut } from './link-escapes.ts';
import { looksSecret } from './secret-looking.ts';
import { OR_LEAVE_IT_OUT, SourceError } from './source-error.ts';

const IGNORE_FILE_MAX_BYTES = 1024 * 1024;
/** The specification of Git LFS says that a pointer is shorter than this. */
const POINTER_MAX_BYTES = 1024;
const POINTER_BEGIN = 'version https://git-lfs.github.com/spec/v1\n';
/**
 * The folder in which `submit` and `download` put artifacts. With them, the next build would have another
 * source.
 */
const DOWNLOADED = /(^|\/)expo-build-b_[0-9a-z]+\//;
/** How many paths one sentence names. */
const NAMED_MAX = 5;

/** Why the list has a file that git alone would not bring, or that EAS treats in another way. */
export type Difference =
  | 'brought_by_easignore'
  | 'brought_by_include'
  | 'tracked_although_ignored'
  | 'kept_by_negated_rule'
  | 'in_nested_repository';

export interface SourceFile {
  /** Relative to the root, with `/` between its parts. */
  path: string;
  /** Its absolute path, if it does not lie in the source. */
  liesAt?: string;
  kind: 'file' | 'link';
  sizeBytes: number;
  isExecutable: boolean;
  /** Where a link points to; else empty. */
  target: string;
  isTracked: boolean;
  difference?: Difference;
  /** The rule behind the difference, such as `.gitignore:3 !keep`. */
  rule?: string;
}

export interface Source {
  root: string;
  /** The folder of the app within the root. It is `.` for the root itself. */
  appRoot: string;
  decidedBy: 'git' | 'easignore' | 'gitignore_files';
  /** There is a repository, but no program `git`. */
  gitIsMissing: boolean;
  /** Sorted by path. */
  files: SourceFile[];
  leftOut: LeftOut[];
}

export interface ListOptions {
  /** The folder of the app, in which eas.json lies. */
  appDir: string;
  /** The folder that goes along. Left out: the repository that the app is in, else `appDir`. */
  root?: string | undefined;
  /** Ignored files that go along too, as globs that count from `appDir`. */
  include?: readonly string[];
  /** The same, from expo-build.json. They bring no file that looks like a secret. */
  includeOfProject?: readonly string[];
  /** Git's view counts, and .easignore only removes more files. */
  easignoreAdds?: boolean;
  /** Accepts a folder without any file. */
  mayBeEmpty?: boolean;
  /** Also look up the rule behind each difference. */
  explain?: boolean;
  signal: AbortSignal;
}

/** Throws SourceError if the folder cannot be packed. */
export async function listSource(options: ListOptions): Promise<Source> {
  const { root, appRoot } = findRoot(options.appDir, options.root);
  const listing = new Listing(root, appRoot, options);
  return await listing.make();
}

/** Throws SourceError. */
export function findRoot(appDir: string, givenRoot: string | undefined): { root: string; appRoot: string } {
  const app = folderAt(appDir);
  const root = givenRoot === undefined ? (repositoryOf(app) ?? app) : folderAt(givenRoot);
  if (!isBelow(root, app))
    throw new SourceError(`The folder of the app, ${app}, is not in ${root}. Give a folder that has the app in it.`);
  return { root, appRoot: relative(root, app).split(sep).join('/') || '.' };
}

function folderAt(path: string): string {
  const real = realPathOf(resolve(path));
  if (real === null || !lstatSync(real).isDirectory())
    throw new SourceError(`${path} is not a folder. Name the folder of a project.`);
  return real;
}

/** A repository in the home folder keeps the settings of the person, and is not that of this project. */
function repositoryOf(folder: string): string | null {
  const home = realPathOf(homedir());
  for (let at = folder; ; at = dirname(at)) {
    if (at === home && at !== folder) return null;
    if (statsOf(join(at, '.git')) !== null) return at;
    if (dirname(at) === at) return null;
  }
}

function statsOf(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch {
    return null;
  }
}

/** Empty for a folder that cannot be read, because no file in it goes along. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

interface Seen {
  isTracked: boolean;
  isExecutable: boolean;
  difference?: Difference;
  rule?: string;
}

class Listing {
  readonly #root: string;
  readonly #appRoot: string;
  readonly #options: ListOptions;
  readonly #seen = new Map<string, Seen>();
  readonly #leftOut: LeftOut[] = [];
  #gitIsMissing = false;
  /** Whether a path is a real folder, and not a link. */
  readonly #folders = new Map<string, boolean>([['', true]]);

  constructor(root: string, appRoot: string, options: ListOptions) {
    this.#root = root;
    this.#appRoot = appRoot;
    this.#options = options;
  }

  async make(): Promise<Source> {
    const easignore = this.#easignoreFiles();
    const hasGit = await this.#addGitView('', this.#root);
    if (!hasGit) this.#addWalk('', (folder) => this.#rulesAt(`${folder}.gitignore`), 'ignored');
    if (easignore.size > 0) this.#applyEasignore(easignore, hasGit);
    for (const glob of this.#options.includeOfProject ?? []) this.#include(glob, false);
    for (const glob of this.#options.include ?? []) this.#include(glob, true);
    const files = this.#files();
    this.#refuse(files);
    if (hasGit && this.#options.explain) this.#addPipes();
    const replaces = easignore.size > 0 && !this.#options.easignoreAdds;
    const decidedBy = replaces ? 'easignore' : hasGit ? 'git' : 'gitignore_files';
    const byPath = (a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1);
    const going = new Set(files.map(({ path }) => path));
    const secret = new Set(this.#leftOut.flatMap(({ path, why }) => (why === 'secret' ? [path] : [])));
    const leftOut = this.#leftOut
      .filter(({ path, why }) => !going.has(path) && (why === 'secret' || !secret.has(path)))
      .sort(byPath);
    const found = { root: this.#root, appRoot: this.#appRoot, gitIsMissing: this.#gitIsMissing };
    return { ...found, decidedBy, files, leftOut };
  }

  /** The rules of each .easignore that counts, by its folder: empty, or with a slash at its end. */
  #easignoreFiles(): Map<string, IgnoreRules> {
    const folders = this.#appRoot === '.' ? [''] : ['', `${this.#appRoot}/`];
    return new Map(
      folders.flatMap((folder) => {
        const rules = this.#rulesAt(`${folder}.easignore`);
        return rules === null ? [] : [[folder, rules] as const];
      }),
    );
  }

  #rulesAt(path: string): IgnoreRules | null {
    const isEasignore = path.endsWith('.easignore');
    // Git does not follow a .gitignore that is a link. But people link an .easignore to another file.
    const bytes = isEasignore
      ? bytesBelow(this.#root, path, IGNORE_FILE_MAX_BYTES)
      : bytesOf(join(this.#root, path), IGNORE_FILE_MAX_BYTES);
    return bytes === null ? null : ignoreRules(bytes.toString('utf8'));
  }

  /**
   * Adds the files that git sees in the repository at `folder`. False if there is no repository, or no git.
   */
  async #addGitView(prefix: string, folder: string, difference?: Difference): Promise<boolean> {
    if (statsOf(join(folder, '.git')) === null) return false;
    const nested: { path: string; isSubmodule: boolean }[] = [];
    const hasGit = await withGitView(folder, this.#options.signal, async (view) => {
      if (view === null) {
        this.#gitIsMissing = true;
        return false;
      }
      for (const path of view.ignored) this.#leaveOut(`${prefix}${path}`, 'ignored');
      for (const { path, isTracked, isExecutable, isSubmodule } of view.entries) {
        this.#checkPath(path);
        if (isSubmodule || path.endsWith('/')) nested.push({ path: path.replace(/\/$/, ''), isSubmodule });
        else this.#seen.set(`${prefix}${path}`, { isTracked, isExecutable, ...(difference && { difference }) });
      }
      if (this.#options.explain) await this.#explain(prefix, view);
      return true;
    });
    if (!hasGit) return false;
    for (const { path, isSubmodule } of nested) {
      const inner = isSubmodule ? difference : 'in_nested_repository';
      if (!this.#isFolder(`${prefix}${path}`)) this.#leaveOut(`${prefix}${path}`, 'deleted');
      else if (!(await this.#addGitView(`${prefix}${path}/`, join(folder, path), inner)))
        this.#leaveOut(`${prefix}${path}/`, 'not_checked_out');
    }
    return true;
  }

  /** The index comes from the project, so any text may stand in place of a path. */
  #checkPath(path: string): void {
    if (path.startsWith('/') || path.split('/').some((part) => part === '..' || part === '.'))
      throw new SourceError(
        `The index of git names ${JSON.stringify(path)}, which no repository should. Delete .git/index and run \`git reset\`.`,
      );
  }

  async #explain(prefix: string, view: GitView): Promise<void> {
    // Git refuses a path below a link that replaces a folder.
    const paths = view.entries
      .map(({ path }) => path)
      .filter((path) => !path.endsWith('/') && this.#isFolder(parentOf(`${prefix}${path}`)));
    for (const [path, { rule, where }] of await view.rulesOn(paths)) {
      const seen = this.#seen.get(`${prefix}${path}`);
      if (seen === undefined || seen.difference) continue;
      seen.difference = rule.startsWith('!') ? 'kept_by_negated_rule' : 'tracked_although_ignored';
      seen.rule = `${prefix}${where} ${rule}`;
    }
  }

  #addWalk(start: string, rulesIn: (folder: string) => IgnoreRules | null, why: LeftOut['why']): void {
    const { paths, leftOut } = walk(this.#root, start, [], rulesIn, why);
    for (const path of paths) this.#seen.set(path, { isTracked: false, isExecutable: false });
    this.#leftOut.push(...leftOut);
  }

  #applyEasignore(files: Map<string, IgnoreRules>, hasGit: boolean): void {
    // A second .easignore, beside eas.json, is nested in the first.
    const [start = ''] = files.keys();
    const inherited: RulesOfFolder[] = [];
    const { paths, leftOut } = walk(this.#root, start, inherited, (folder) => files.get(folder) ?? null, 'easignore');
    const wanted = new Set(paths);
    const before = [...this.#seen.keys()].filter((path) => path.startsWith(start));
    const isMissing = (path: string) => statsOf(join(this.#root, path)) === null;
    for (const path of before)
      if (!wanted.has(path)) {
        this.#seen.delete(path);
        this.#leaveOut(path, isMissing(path) ? 'deleted' : 'easignore');
      }
    if (this.#options.easignoreAdds) return;
    const outside = this.#leftOut.filter(({ path }) => !path.startsWith(start));
    const deleted = this.#leftOut.filter(({ path, why }) => path.startsWith(start) && why === 'deleted');
    this.#leftOut.splice(0, Infinity, ...outside, ...deleted, ...leftOut);
    for (const path of wanted) {
      if (this.#seen.has(path)) continue;
      if (looksSecret(path)) this.#leaveOut(path, 'secret');
      else
        this.#seen.set(path, {
          isTracked: false,
          isExecutable: false,
          ...(hasGit && { difference: 'brought_by_easignore' }),
        });
    }
  }

  #include(glob: string, isTyped: boolean): void {
    const app = join(this.#root, this.#appRoot);
    const pattern = pathIn(this.#appRoot, glob);
    if (pattern === null)
      throw new SourceError(
        `--include ${glob} leads out of ${this.#root}, and only files in there go along. It counts from the folder of the app, ${app}.`,
      );
    if (pattern === '.' || `${this.#appRoot}/`.startsWith(`${pattern}/`))
      throw new SourceError(
        `--include ${JSON.stringify(glob)} would bring all that is ignored in ${app}, also secrets. Name less, such as --include 'ios/Frameworks/**'.`,
      );
    const matches = picomatch([pattern, `${pattern}/**`], { dot: true });
    let count = 0;
    for (const path of walk(this.#root, '', [], () => null, 'ignored').paths) {
      if (!matches(path)) continue;
      count++;
      if (this.#seen.has(path)) continue;
      if (!isTyped && looksSecret(path)) this.#leaveOut(path, 'secret');
      else this.#seen.set(path, { isTracked: false, isExecutable: false, difference: 'brought_by_include' });
    }
    if (count === 0)
      throw new SourceError(
        `--include ${glob} fits no file. It counts from the folder of the app, ${app}, and ${LEFT_OUT.join(' and ')} never go along.`,
      );
  }

  #leaveOut(path: string, why: LeftOut['why']): void {
    this.#leftOut.push({ path, why: isLeftOut(path) ? 'always' : why });
  }

  /** Looks at each path on the disk. */
  #files(): SourceFile[] {
    const files: SourceFile[] = [];
    for (const path of [...this.#seen.keys()].sort()) {
      const seen = this.#seen.get(path)!;
      if (!seen.isTracked && DOWNLOADED.test(path)) {
        this.#leftOut.push({ path, why: 'always' });
        continue;
      }
      if (isLeftOut(path)) {
        this.#leaveOut(path, 'always');
        continue;
      }
      if (isAppleDouble(path)) {
        this.#leaveOut(path, 'apple_double');
        continue;
      }
      const stats = this.#isFolder(parentOf(path)) ? statsOf(join(this.#root, path)) : null;
      if (stats?.isFile()) {
        const isExecutable = process.platform === 'win32' ? seen.isExecutable : (stats.mode & 0o100) !== 0;
        files.push({ ...seen, path, kind: 'file', sizeBytes: stats.size, isExecutable, target: '' });
      } else if (stats?.isSymbolicLink()) {
        const target = readlinkSync(join(this.#root, path)).replaceAll('\\', sep === '\\' ? '/' : '\\');
        files.push({ ...seen, path, kind: 'link', sizeBytes: 0, isExecutable: false, target });
      } else this.#leaveOut(path, stats === null || stats.isDirectory() ? 'deleted' : 'no_file');
    }
    return files;
  }

  /** Git does not list pipes and sockets. */
  #addPipes(): void {
    const known = new Set(this.#leftOut.map(({ path }) => path));
    const look = (folder: string) => {
      for (const entry of entriesOf(join(this.#root, folder))) {
        const path = `${folder}${entry.name}`;
        if (isLeftOut(entry.name) || known.has(path) || known.has(`${path}/`)) continue;
        if (entry.isDirectory()) look(`${path}/`);
        else if (!entry.isFile() && !entry.isSymbolicLink()) this.#leaveOut(path, 'no_file');
      }
    };
    look('');
  }

  /** A link in place of a folder does not count as a folder. Git reports the files in it as deleted. */
  #isFolder(path: string): boolean {
    const known = this.#folders.get(path);
    if (known !== undefined) return known;
    const answer = this.#isFolder(parentOf(path)) && statsOf(join(this.#root, path))?.isDirectory() === true;
    this.#folders.set(path, answer);
    return answer;
  }

  #refuse(files: readonly SourceFile[]): void {
    if (files.length === 0 && !this.#options.mayBeEmpty)
      throw new SourceError(`No file of ${this.#root} would go along: every file in it is ignored, or it is empty.`);
    const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (files.length > SOURCE_ENTRIES_MAX || totalBytes > SOURCE_BYTES_MAX)
      throw new SourceError(
        `${this.#root} has ${files.length} files with ${totalBytes} bytes, but a build takes at most ${SOURCE_ENTRIES_MAX} files and ${SOURCE_BYTES_MAX} bytes. Name what the build does not need in .easignore and give \`--easignore-adds\`, with which the rules of git still hold.`,
      );
    const links = new Map(
      files.flatMap(({ path, kind, target }) => (kind === 'link' ? [[path, target] as const] : [])),
    );
    const out = [...linksThatLeadOut(links)];
    if (out.length > 0)
      throw new SourceError(
        `${named(out.map(([path, target]) => `${path} → ${target}`))} ${out.length === 1 ? 'is a link that leads' : 'are links that lead'} out of ${this.#root}, where a VM finds nothing. Put the file there itself, make the link relative and within the project, ${OR_LEAVE_IT_OUT}.`,
      );
    const pointers = this.#lfsPointers(files);
    if (pointers.length > 0)
      throw new SourceError(
        `${named(pointers)} ${pointers.length === 1 ? 'is a pointer' : 'are pointers'} of Git LFS and not the ${pointers.length === 1 ? 'file itself' : 'files themselves'}. Fetch them: \`git lfs install && git lfs pull\` (in GitHub Actions: \`lfs: true\` for actions/checkout).`,
      );
  }

  #lfsPointers(files: readonly SourceFile[]): string[] {
    const usesLfs = files.some(
      ({ path, kind }) =>
        kind === 'file' &&
        /(^|\/)\.gitattributes$/.test(path) &&
        bytesOf(join(this.#root, path), IGNORE_FILE_MAX_BYTES)?.includes('filter=lfs'),
    );
    if (!usesLfs) return [];
    return files
      .filter(
        ({ path, kind, sizeBytes }) =>
          kind === 'file' &&
          sizeBytes > POINTER_BEGIN.length &&
          sizeBytes < POINTER_MAX_BYTES &&
          bytesOf(join(this.#root, path), POINTER_MAX_BYTES)?.toString('latin1').startsWith(POINTER_BEGIN),
      )
      .map(({ path }) => path);
  }
}

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));

/** `a, b and 3 more`, each in a form that is safe in a terminal. */
const named = (names: readonly string[]): string => {
  const shown = names.slice(0, NAMED_MAX).map((name) => JSON.stringify(name));
  return names.length > NAMED_MAX ? `${shown.join(', ')} and ${names.length - NAMED_MAX} more` : shown.join(', ');
};
