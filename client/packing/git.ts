/**
 * Asks git which files of a folder it sees. No other module of `client/` starts git.
 *
 * Invariant: git runs and obeys nothing that a stranger put into `.git`. Git gets a folder of our own in
 * place of `.git`, with copies of the index and of info/exclude. So the repository's own config and hooks
 * have no effect, and variables that name another repository have none either. The person's own config
 * counts.
 */
import { lstatSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve, sep } from 'node:path';
import { execa } from 'execa';
import { bytesOf, realPathOf, textOf } from '../safe-files.ts';
import { SourceError } from './source-error.ts';

/** Listing a tree of a million files takes a few seconds. */
const GIT_MS = 120_000;
const OUTPUT_MAX_BYTES = 512 * 1024 * 1024;
/** The index of a million files has 150 MB. */
const GIT_FILE_MAX_BYTES = 512 * 1024 * 1024;

interface GitEntry {
  /** Relative to the root of the repository. The path of a nested repository ends with a slash. */
  path: string;
  isTracked: boolean;
  /** Taken from the index, because files on Windows have no such bit. */
  isExecutable: boolean;
  isSubmodule: boolean;
}

export interface GitView {
  /** Tracked files, and untracked ones that no rule ignores. A tracked file may be missing on the disk. */
  entries: GitEntry[];
  /** Paths that git ignores. A whole folder ends with a slash. */
  ignored: string[];
  /** The last rule of the ignore files that matches each path. A path without such a rule is left out. */
  rulesOn(paths: readonly string[]): Promise<Map<string, { rule: string; where: string }>>;
}

/** A folder of our own in place of `.git`, and a function that runs git with it. */
export interface OwnGitFolder {
  folder: string;
  /** The folder of the repository's index, and that of its config and objects. They differ in a worktree. */
  own: string;
  common: string;
  /** Null stands for a machine without git. Throws SourceError if git refuses. */
  git(args: string[], input?: string): Promise<Buffer | null>;
}

/** Calls `use` with such a folder, which is deleted afterwards. */
export async function withOwnGitFolder<T>(
  root: string,
  signal: AbortSignal,
  use: (git: OwnGitFolder) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'expo-build-git-'));
  try {
    const places = await fillGitFolder(folder, root);
    return await use({ folder, ...places, git: (args, input = '') => runGit(root, folder, args, input, signal) });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Calls `use` with git's view of the repository `root`. Null stands for a machine without git. */
export const withGitView = <T>(
  root: string,
  signal: AbortSignal,
  use: (view: GitView | null) => Promise<T>,
): Promise<T> =>
  withOwnGitFolder(root, signal, async ({ folder, git }) => {
    // In parallel, because both read the whole tree and mostly wait for the disk.
    const [seen, ignored] = await Promise.all([
      git(['ls-files', '-z', '-t', '--stage', '--cached', '--others', '--exclude-standard']),
      git(['ls-files', '-z', '--others', '--ignored', '--exclude-standard', '--directory']),
    ]);
    if (seen === null || ignored === null) return await use(null);
    return await use({
      entries: entriesOf(seen),
      ignored: textsOf(ignored),
      async rulesOn(paths) {
        const rules = new Map<string, { rule: string; where: string }>();
        if (paths.length === 0) return rules;
        const answer = await git(['check-ignore', '-z', '-v', '--no-index', '--stdin'], `${paths.join('\0')}\0`);
        const fields = textsOf(answer ?? Buffer.alloc(0), false);
        for (let at = 0; at + 3 < fields.length; at += 4) {
          const [source = '', line, rule = '', path = ''] = fields.slice(at, at + 4);
          rules.set(path, { rule, where: `${source.startsWith(folder) ? '.git/info/exclude' : source}:${line}` });
        }
        return rules;
      },
    });
  });

/** Null if there is no git. */
async function runGit(
  root: string,
  folder: string,
  args: string[],
  input: string,
  signal: AbortSignal,
): Promise<Buffer | null> {
  const { stdout, exitCode, stderr, code, isCanceled } = await execa(
    'git',
    ['-c', 'core.fsmonitor=false', '-c', 'core.untrackedCache=false', ...args],
    {
      cwd: root,
      env: { ...ownEnvironment(), GIT_DIR: folder, GIT_WORK_TREE: root, GIT_OPTIONAL_LOCKS: '0', LC_ALL: 'C' },
      extendEnv: false,
      encoding: 'buffer',
      input,
      reject: false,
      timeout: GIT_MS,
      maxBuffer: OUTPUT_MAX_BYTES,
      cancelSignal: signal,
    },
  );
  if (isCanceled) signal.throwIfAborted();
  if (code === 'ENOENT') return null;
  // check-ignore ends with 1 if no rule matches any path.
  if (exitCode === 0 || (exitCode === 1 && args[0] === 'check-ignore')) return Buffer.from(stdout ?? []);
  const said = Buffer.from(stderr ?? [])
    .toString('utf8')
    .trim();
  throw new SourceError(
    `Git could not list the files of ${root}: ${said || code || 'it took too long'}. Run \`git status\` there and put right what it says.`,
  );
}

/** Without the variables that name another repository, which git sets for its hooks. */
const ownEnvironment = () =>
  Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_') || name.startsWith('GIT_CONFIG_')),
  );

/** Fills `folder` so that git takes it for the repository of `root`. */
async function fillGitFolder(folder: string, root: string): Promise<{ own: string; common: string }> {
  const places = gitFoldersOf(root);
  const { own, common } = places;
  const format = textAt(join(common, 'config')) ?? '';
  const isSha256 = /^\s*objectformat\s*=\s*"?sha256/im.test(format);
  const onMac = process.platform === 'darwin';
  const config = [
    '[core]',
    `repositoryFormatVersion = ${isSha256 ? 1 : 0}`,
    'bare = false',
    // As `git init` sets them on this system. Names that differ only in case or in accents need them.
    `ignoreCase = ${onMac || process.platform === 'win32'}`,
    ...(onMac ? ['precomposeUnicode = true'] : []),
    ...(isSha256 ? ['[extensions]', 'objectFormat = sha256'] : []),
  ];
  await Promise.all(['refs', 'objects/info', 'info'].map((name) => mkdir(join(folder, name), { recursive: true })));
  const put = (name: string, content: string | Uint8Array) => writeFile(join(folder, name), content);
  await put('HEAD', 'ref: refs/heads/none\n');
  await put('config', `${config.join('\n')}\n`);
  const exclude = bytesAt(join(common, 'info/exclude'));
  if (exclude !== null) await put('info/exclude', exclude);
  const written = lstatSync(join(own, 'index'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const index = bytesAt(join(own, 'index'));
  if (index === null) return places; // nothing was ever added
  await put('index', index);
  // Git takes the content of a file for unchanged only if it changed before the index was written.
  const seconds = Math.floor(written / 1_000);
  await utimes(join(folder, 'index'), seconds, seconds);
  // A split index has the rest of its entries in another file.
  for (const name of await readdir(own))
    if (/^sharedindex\.[0-9a-f]+$/.test(name)) await put(name, bytesAt(join(own, name)) ?? '');
  // A sparse index names folders, which git looks up among the objects.
  if (index.includes('sdir')) await put('objects/info/alternates', `${join(common, 'objects')}\n`);
  return places;
}

/** The places in which git keeps the folders of worktrees and of submodules. No other folder is read. */
const PLACES = /\/worktrees\/[^/]+$|\/\.git\/(.+\/)?modules\/.+$/;

/** The folder of the index, and that of the config. They differ in a linked worktree. */
function gitFoldersOf(root: string): { own: string; common: string } {
  const entry = join(root, '.git');
  const text = textAt(entry);
  const named = text === null ? null : /^gitdir: (.+?)\r?\n?$/.exec(text)?.[1];
  if (!named) return { own: entry, common: entry };
  const own = resolve(root, named);
  if (!belongsTo(own, root))
    throw new SourceError(
      `${entry} names ${own}, which does not name ${root} in turn, so its rules are not used. Run \`git worktree repair\` in the main repository, or delete the file ${entry}.`,
    );
  const common = textAt(join(own, 'commondir'))?.trim();
  return { own, common: common ? resolve(own, common) : own };
}

/**
 * The git folder of a worktree or submodule must name it in turn. Otherwise a project could name any folder.
 */
function belongsTo(own: string, root: string): boolean {
  if (!PLACES.test(own.replaceAll(sep, '/'))) return false;
  const isSame = (path: string) => realPathOf(path) === realPathOf(root);
  const back = textAt(join(own, 'gitdir'))?.trim();
  if (back) return isSame(dirname(resolve(own, back)));
  const worktree = /^\s*worktree\s*=\s*"?([^"\n]+?)"?\s*$/m.exec(textAt(join(own, 'config')) ?? '')?.[1];
  return worktree !== undefined && isSame(resolve(own, worktree));
}

const bytesAt = (path: string) => bytesOf(path, GIT_FILE_MAX_BYTES);
const textAt = (path: string) => textOf(path, GIT_FILE_MAX_BYTES);

function entriesOf(output: Buffer): GitEntry[] {
  const entries: GitEntry[] = [];
  let last = '';
  for (const text of textsOf(output)) {
    const tag = text[0];
    if (tag === '?') {
      entries.push({ path: text.slice(2), isTracked: false, isExecutable: false, isSubmodule: false });
      continue;
    }
    const tab = text.indexOf('\t');
    const path = text.slice(tab + 1);
    // The index has a file in conflict up to three times.
    if (path === last) continue;
    last = path;
    const mode = text.slice(2, 8);
    entries.push({ path, isTracked: true, isExecutable: mode === '100755', isSubmodule: mode === '160000' });
  }
  return entries;
}

function textsOf(output: Buffer, areNames = true): string[] {
  const texts = output.toString('utf8').split('\0');
  texts.pop();
  const damaged = areNames ? texts.find((text) => text.includes('\ufffd')) : undefined;
  if (damaged !== undefined)
    throw new SourceError(
      `The name of ${JSON.stringify(damaged.replace(/^\S+ .*\t|^\? /, ''))} is not valid UTF-8, so no Mac can store it. Rename the file.`,
    );
  return texts;
}
