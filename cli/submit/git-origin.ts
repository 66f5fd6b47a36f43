/**
 * Asks git where a source comes from: its repository, branch, commit and tag, and whether files differ from
 * the commit.
 *
 * Invariant: git runs and obeys nothing that a stranger put into `.git`, as in client/packing/git.ts. It
 * works with a folder of our own, which gets the commit and the tags. No field of the origin has a credential
 * in it.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asLine, ORIGIN_MESSAGE_MAX, ORIGIN_NAME_MAX, Origin, Repository } from '#contract';
import { headOf, leadsOut, lendHistory } from '../../client/git-history/history.ts';
import { type OwnGitFolder, withOwnGitFolder } from '../../client/packing/git.ts';
import type { Source } from '../../client/packing/list-source.ts';
import { SourceError } from '../../client/packing/source-error.ts';
import { bytesOf, realPathOf } from '../../client/safe-files.ts';

const CONFIG_MAX_BYTES = 1024 * 1024;

interface GitOrigin {
  origin: Origin;
  /** The parents of the commit. Empty if git does not know them. */
  parents: readonly string[];
}

/**
 * Null if the source is no repository, or this machine has no git. A field that git does not know is left
 * out.
 */
export async function gitOrigin(source: Source, signal: AbortSignal): Promise<GitOrigin | null> {
  const { root } = source;
  if (source.gitIsMissing || realPathOf(join(root, '.git')) === null) return null;
  try {
    return await withOwnGitFolder(root, signal, (git) => new Reading(git, source).origin());
  } catch (error) {
    // A repository that git cannot read has no origin. `pack` reports the reason if it matters.
    if (error instanceof SourceError) return null;
    throw error;
  }
}

class Reading {
  readonly #git: OwnGitFolder;
  readonly #source: Source;

  constructor(git: OwnGitFolder, source: Source) {
    this.#git = git;
    this.#source = source;
  }

  async origin(): Promise<GitOrigin | null> {
    const { commit, branch } = headOf(this.#git);
    const repository = await this.#repository(branch);
    const known = { ...(repository && { repository }), ...(branch && named('branch', branch)) };
    if (commit === undefined) return Object.keys(known).length > 0 ? { origin: known, parents: [] } : null;
    if (await leadsOut(this.#git)) return { origin: { ...known, commit }, parents: [] };
    const isShallow = await lendHistory(this.#git, commit);
    const [said, tag, count, dirty] = await Promise.all([
      this.#ask('cat-file', 'commit', commit),
      this.#ask('tag', '--points-at', commit, '--sort=-version:refname'),
      // A shallow clone would count only the commits that it has.
      isShallow ? null : this.#ask('rev-list', '--count', commit),
      this.#isDirty(),
    ]);
    const { author, message, parents } = ofCommit(said ?? '');
    const origin = Origin.parse({
      ...known,
      commit,
      ...named('tag', tag?.split('\n')[0] ?? ''),
      ...named('author', author),
      ...(message !== '' && { message }),
      ...(count !== null && { commitCount: Number(count) }),
      ...(dirty !== null && { dirty }),
    });
    return { origin, parents };
  }

  /** Null if git has no answer. */
  async #ask(...args: string[]): Promise<string | null> {
    try {
      return (await this.#git.git(args))?.toString('utf8') ?? null;
    } catch (error) {
      if (error instanceof SourceError) return null;
      throw error;
    }
  }

  /** Whether the files that are sent differ from the commit. */
  async #isDirty(): Promise<boolean | null> {
    const { files } = this.#source;
    if (files.some(({ isTracked, difference }) => !isTracked && difference === undefined)) return true;
    const args = ['status', '--porcelain', '--untracked-files=no', '--ignore-submodules=all', '--no-renames'];
    // Windows has neither the bit of executables nor, mostly, links.
    const asHere = process.platform === 'win32' ? ['-c', 'core.fileMode=false', '-c', 'core.symlinks=false'] : [];
    const changed = await this.#ask(...asHere, ...args);
    return changed === null ? null : changed !== '';
  }

  async #repository(branch: string | undefined): Promise<string | null> {
    const config = bytesOf(join(this.#git.common, 'config'), CONFIG_MAX_BYTES);
    if (config === null) return null;
    // A copy, because git would follow a link.
    const copy = join(this.#git.folder, 'config-of-repository');
    await writeFile(copy, config);
    const said = await this.#ask('config', '--file', copy, '--no-includes', '-z', '--get-regexp', REMOTES);
    const values = new Map(
      (said ?? '').split('\0').flatMap((one): [string, string][] => {
        const end = one.indexOf('\n');
        return end === -1 ? [] : [[one.slice(0, end), one.slice(end + 1)]];
      }),
    );
    const urls = [...values.keys()].filter((key) => key.startsWith('remote.'));
    const remote = values.get(`branch.${branch}.remote`) ?? 'origin';
    const url = values.get(`remote.${remote}.url`) ?? (urls.length === 1 ? values.get(urls[0]!) : undefined);
    return url === undefined ? null : repositoryOf(url);
  }
}

const REMOTES = '^(remote\\..*\\.url|branch\\..*\\.remote)$';

/** Host and path of a remote's address, without user, password and `.git`. Null if it is on this disk. */
export function repositoryOf(remote: string): string | null {
  const url = URL.parse(remote);
  const scp = /^(?:[^@/\s]+@)?([^@:/\s]+):(?!\/\/)(.+)$/.exec(remote);
  const isWeb = url?.protocol === 'https:' || url?.protocol === 'http:';
  const named =
    url?.hostname && (isWeb || url.protocol === 'ssh:' || url.protocol === 'git:')
      ? `${isWeb ? url.host : url.hostname}${url.pathname}`
      : scp
        ? `${scp[1]}/${scp[2]}`
        : '';
  const plain = named.replaceAll(/\/+/g, '/').replace(/(\.git)?\/?$/, '');
  return Repository.safeParse(plain).success ? plain : null;
}

/** Empty if the text has no line that an origin may have. */
function named<Field extends string>(field: Field, text: string): { [field in Field]?: string } {
  const line = asLine(text, ORIGIN_NAME_MAX);
  return (line === null ? {} : { [field]: line }) as { [field in Field]?: string };
}

/** A commit as git stores it: headers, an empty line, and the message. */
function ofCommit(text: string): { author: string; message: string; parents: string[] } {
  const end = text.indexOf('\n\n');
  const headers = text.slice(0, end);
  const author = /^author (.*?) ?<[^\n]*$/m.exec(headers)?.[1] ?? '';
  const parents = [...headers.matchAll(/^parent ([0-9a-f]+)$/gm)].map(([, parent]) => parent!);
  const lines = end === -1 ? [] : text.slice(end + 2).split('\n');
  const clean = lines.map((one) => asLine(one, ORIGIN_MESSAGE_MAX) ?? '').join('\n');
  // The cut may leave half of a pair.
  return {
    ...{ author, parents },
    message: clean
      .trim()
      .slice(0, ORIGIN_MESSAGE_MAX)
      .replace(/\p{Cs}$/u, ''),
  };
}
