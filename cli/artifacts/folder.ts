/**
 * Looks at the folder that artifacts are to be written into.
 *
 * Invariant: it changes nothing.
 */
import { lstat, readdir } from 'node:fs/promises';
import { basename, join, relative, resolve, sep } from 'node:path';
import { isBelow } from '../../client/safe-files.ts';
import { CommandError } from '../command-error.ts';

const APPS = { ios: /\.(ipa|app\.tar\.gz)$/i, android: /\.(apk|aab)$/i };

/**
 * Throws CommandError if an app or a file that the build is asked for lies there already. The caller asks
 * before the build, because a download replaces no file.
 */
export async function refuseTaken(
  folder: string,
  platform: keyof typeof APPS,
  globs: readonly string[],
): Promise<void> {
  await refuseLinks(folder);
  const wanted = new Set(globs.map((glob) => basename(glob)));
  const taken = (await namesIn(folder)).find((name) => APPS[platform].test(name) || wanted.has(name));
  if (taken !== undefined)
    throw new CommandError(
      `${join(folder, taken)} is there already, and a download replaces no file. Remove it, or give another folder with --to.`,
    );
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw new CommandError(
      `${folder} cannot be read (${code}), so nothing is downloaded there. Give another folder with --to.`,
    );
  }
}

/** A folder of a stranger's project may be a link to anywhere. Links above the current folder are our own. */
export async function refuseLinks(folder: string): Promise<void> {
  const here = resolve('.');
  const whole = resolve(folder);
  const parts = isBelow(here, whole) ? relative(here, whole).split(sep) : [];
  const looked = parts.length > 0 ? parts.map((_, index) => join(here, ...parts.slice(0, index + 1))) : [whole];
  for (const path of looked) {
    const stats = await lstat(path).catch(() => null);
    if (stats && !stats.isDirectory())
      throw new CommandError(
        `${path} is ${stats.isSymbolicLink() ? 'a link' : 'no folder'}, so nothing is downloaded there. Give another folder with --to.`,
      );
  }
}
