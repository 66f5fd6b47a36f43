/**
 * Finds the commit, the branch and the tags of a repository, and lends its objects to a folder of our own, so
 * that git can answer questions about them there.
 *
 * Invariant: git runs and obeys nothing that a stranger put into `.git`, as in client/packing/git.ts. Objects
 * outside of the repository are not lent.
 */
import { existsSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Commit } from '#contract';
import type { OwnGitFolder } from '../packing/git.ts';
import { bytesBelow, bytesOf, realPathOf } from '../safe-files.ts';

const REFS_MAX_BYTES = 64 * 1024 * 1024;
const TAGS_MAX = 10_000;
const NAME_MAX = 256;
/** Names that git accepts in its file of packed refs. */
const REF_NAME = /^(?!.*(\.\.|@\{|\/\/|\.lock(\/|$)))[^\s~^:?*[\\\p{Cc}/.][^\s~^:?*[\\\p{Cc}]*(?<![./])$/u;

interface Head {
  /** Undefined before the first commit. */
  commit: string | undefined;
  branch: string | undefined;
}

const textAt = (path: string): string => bytesOf(path, REFS_MAX_BYTES)?.toString('utf8') ?? '';

/** `ref` comes from a file of the repository. */
function loose({ common }: OwnGitFolder, ref: string): string {
  if (ref.split('/').includes('..')) return '';
  return bytesBelow(common, ref, NAME_MAX)?.toString('utf8').trim() ?? '';
}

function packedRefs({ common }: OwnGitFolder): Map<string, string> {
  const lines = textAt(join(common, 'packed-refs')).matchAll(/^([0-9a-f]{40,64}) (refs\/\S+)$/gm);
  return new Map([...lines].map(([, sha, ref]) => [ref!, sha!]));
}

export function headOf(own: OwnGitFolder): Head {
  const head = textAt(join(own.own, 'HEAD')).trim();
  const ref = /^ref: (refs\/heads\/\S+)$/.exec(head)?.[1];
  const commit = ref === undefined ? head : loose(own, ref) || packedRefs(own).get(ref);
  const branch = ref?.slice('refs/heads/'.length);
  return {
    commit: Commit.safeParse(commit).success ? commit : undefined,
    // A repository with reftables has a name here that is not valid for a branch.
    branch: branch !== undefined && REF_NAME.test(branch) ? branch : undefined,
  };
}

/** Whether git would look for objects outside: through a link, or in another repository. */
export async function leadsOut({ common }: OwnGitFolder): Promise<boolean> {
  const real = realPathOf(common);
  for (const folder of ['objects', 'objects/pack', 'objects/info', 'refs', 'refs/tags']) {
    const place = realPathOf(join(common, folder));
    if (place === null) continue;
    if (real === null || place !== join(real, folder)) return true;
    const entries = await readdir(place, { withFileTypes: true });
    if (entries.some((entry) => entry.isSymbolicLink())) return true;
  }
  return existsSync(join(common, 'objects/info/alternates'));
}

/**
 * Gives the folder the commit as its HEAD, the tags and the objects. Call it only if {@link leadsOut} is
 * false. With `branch`, HEAD is that branch. Returns whether the repository is shallow.
 */
export async function lendHistory(own: OwnGitFolder, commit: string, branch?: string): Promise<boolean> {
  const { folder, common } = own;
  const tags = new Map([...packedRefs(own)].filter(([ref]) => ref.startsWith('refs/tags/')).slice(0, TAGS_MAX));
  const names = await readdir(join(common, 'refs/tags'), { recursive: true }).catch(() => []);
  for (const name of names.slice(0, TAGS_MAX)) {
    const ref = `refs/tags/${name.replaceAll('\\', '/')}`;
    const sha = loose(own, ref);
    if (Commit.safeParse(sha).success) tags.set(ref, sha);
  }
  const lines = [...tags]
    .filter(([ref]) => REF_NAME.test(ref.slice('refs/tags/'.length)))
    .map(([ref, sha]) => `${sha} ${ref}\n`);
  const isNamed = branch !== undefined && REF_NAME.test(branch);
  if (isNamed) lines.push(`${commit} refs/heads/${branch}\n`);
  await writeFile(join(folder, 'packed-refs'), lines.sort().join(''));
  await writeFile(join(folder, 'objects/info/alternates'), `${join(common, 'objects')}\n`);
  await writeFile(join(folder, 'HEAD'), isNamed ? `ref: refs/heads/${branch}\n` : `${commit}\n`);
  const shallow = textAt(join(common, 'shallow'));
  if (shallow !== '') await writeFile(join(folder, 'shallow'), shallow);
  return shallow !== '';
}
