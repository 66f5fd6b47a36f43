/**
 * Makes a small `.git` for a build: the last commits of the repository, the tags on them, and an index. It is
 * a fresh shallow clone, never a copy.
 *
 * Invariant: git runs and obeys nothing that a stranger put into `.git`. The build gets only the commits with
 * their content, the tags on them, and the name of the branch. It gets no config, no hook, and no remote,
 * because the address of a remote could have a password in it. The same commits give the same files, for one
 * release of git.
 */
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type OwnGitFolder, withOwnGitFolder } from '../packing/git.ts';
import type { SourceFile } from '../packing/list-source.ts';
import { SourceError } from '../packing/source-error.ts';
import { realPathOf } from '../safe-files.ts';
import { headOf, leadsOut, lendHistory } from './history.ts';

export const GIT_DEPTH_MAX = 1_000_000;

/**
 * A ref in a file of its own. Without it, the archive would have no folder `refs`, and git would not
 * recognise the `.git`.
 */
const OWN_REF = 'refs/tartbeat/commit';

/** The files that a build gets. All others matter only to the clone. */
const GOES_ALONG = /^(HEAD|config|index|packed-refs|shallow|refs\/.+|objects\/pack\/pack-[0-9a-f]+\.(pack|idx))$/;

/**
 * One thread makes the whole pack anew, because the packs of a repository can change although its commits do
 * not. These settings override those of the person.
 */
const SETTINGS = [
  ...['protocol.file.allow=always', 'pack.threads=1', 'pack.writeReverseIndex=false', 'repack.writeBitmaps=false'],
  ...['pack.compression=6', 'core.splitIndex=false', 'index.sparse=false', 'index.version=2', 'gc.auto=0'],
  ...['index.skipHash=false', 'init.defaultRefFormat=files', 'clone.rejectShallow=false', 'pack.depth=50'],
].flatMap((setting) => ['-c', setting]);

/**
 * Calls `use` with the files of such a `.git` for the source `root`. They lie in a temporary folder, which is
 * deleted afterwards. Throws SourceError if `root` is not the root of a repository, or git cannot clone it.
 */
export async function withShallowGit<T>(
  root: string,
  depth: number,
  signal: AbortSignal,
  use: (files: SourceFile[]) => Promise<T>,
): Promise<T> {
  if (realPathOf(join(root, '.git')) === null)
    throw new SourceError(`There is no .git for the build, because ${root} is not the root of a git repository.`);
  return await withOwnGitFolder(root, signal, async (own) => await use(await cloned(own, root, depth)));
}

async function cloned(own: OwnGitFolder, root: string, depth: number): Promise<SourceFile[]> {
  const { commit, branch } = headOf(own);
  if (commit === undefined)
    throw new SourceError(`There is no .git for the build, because ${root} has no commit. Make one.`);
  if (await leadsOut(own))
    throw new SourceError(
      `There is no .git for the build, because ${root} has objects of another repository. Run \`git repack -a -d\` there, and delete .git/objects/info/alternates.`,
    );
  await lendHistory(own, commit, branch);
  const git = async (...args: string[]) => {
    if ((await own.git([...SETTINGS, ...args])) === null)
      throw new SourceError('There is no .git for the build, because the program `git` was not found.');
  };
  const clone = join(own.folder, 'clone');
  const from = pathToFileURL(own.folder).href;
  await git('clone', '--quiet', '--bare', '--no-local', '--template=', `--depth=${depth}`, from, clone);
  // One commit has hardly any similar files, so the search for them would only take time.
  const window = depth === 1 ? '--window=0' : '--window=10';
  await git('--git-dir', clone, 'repack', '-a', '-d', '-F', '-q', window);
  await git('--git-dir', clone, 'update-ref', OWN_REF, commit);
  await writeFile(join(clone, 'config'), configFor(commit));
  await git('--git-dir', clone, 'read-tree', 'HEAD');
  return await filesOf(clone);
}

/** The config that `git init` writes on a Mac. With SHA-256, a commit has 64 digits. */
const configFor = (commit: string): string =>
  [
    ...['[core]', `repositoryFormatVersion = ${commit.length === 64 ? 1 : 0}`, 'bare = false'],
    ...['ignoreCase = true', 'precomposeUnicode = true'],
    ...(commit.length === 64 ? ['[extensions]', 'objectFormat = sha256'] : []),
    '',
  ].join('\n');

/** The files of the clone, with their paths in the archive, which begin with `.git`. */
async function filesOf(clone: string): Promise<SourceFile[]> {
  const names = (await readdir(clone, { recursive: true })).map((name) => name.replaceAll('\\', '/'));
  const files = names.filter((name) => GOES_ALONG.test(name)).sort();
  const all = await Promise.all(files.map(async (name) => ({ name, stats: await stat(join(clone, name)) })));
  return all
    .filter(({ stats }) => stats.isFile())
    .map(({ name, stats }) => ({
      ...{ path: `.git/${name}`, liesAt: join(clone, name), kind: 'file', sizeBytes: stats.size },
      ...{ isExecutable: false, target: '', isTracked: false },
    }));
}
