/**
 * Reads files of a project whose author may be a stranger, and makes new ones beside them.
 *
 * Invariant: it opens no file outside the given folder, also not through a link. It replaces no file. Two
 * calls never write to the same unfinished file.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, readSync, realpathSync } from 'node:fs';
import { copyFile, link, lstat, lutimes, readdir, rename, rm } from 'node:fs/promises';
import { uptime } from 'node:os';
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path';
import { hasProcess } from './has-process.ts';

const READ_WITHOUT_LINK = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Opens a file that is not a link. It does not wait for the other end of a pipe. */
export const openPlainFile = (path: string): number => openSync(path, READ_WITHOUT_LINK);

/** The first bytes of a regular file, or null if there is none. It does not follow a link. */
export function bytesOf(path: string, maxBytes: number): Buffer | null {
  let file: number;
  try {
    file = openPlainFile(path);
  } catch {
    return null;
  }
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) return null;
    if (stats.size <= maxBytes) return readFileSync(file);
    const bytes = Buffer.alloc(maxBytes);
    return bytes.subarray(0, readSync(file, bytes, 0, maxBytes, 0));
  } finally {
    closeSync(file);
  }
}

export const textOf = (path: string, maxBytes: number): string | null =>
  bytesOf(path, maxBytes)?.toString('utf8') ?? null;

/** As {@link bytesOf}, but follows links that stay below `root`. */
export function bytesBelow(root: string, path: string, maxBytes: number): Buffer | null {
  const real = realPathOf(join(root, path));
  return real !== null && isBelow(realPathOf(root) ?? root, real) ? bytesOf(real, maxBytes) : null;
}

/** The path with all links followed, or null if it does not exist. */
export function realPathOf(path: string): string | null {
  try {
    return realpathSync.native(path);
  } catch {
    return null;
  }
}

/** Whether `path` is `folder` or lies in it. Both are absolute. */
export function isBelow(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** The unfinished files that calls of this process write to now. */
const ours = new Set<string>();
let taken = 0;

/**
 * Takes the unfinished file that an earlier call has left, under a name that only this call writes to. It
 * does not touch a file that another call is writing. The call gives its file back with {@link
 * leaveUnfinished}.
 */
export async function takeUnfinished(unfinished: string): Promise<string> {
  const own = `${unfinished}-${process.pid}.${++taken}`;
  ours.add(own);
  const [folder, start] = [dirname(unfinished), basename(unfinished)];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (!name.startsWith(start) || ours.has(path) || (await isAtWork(name.slice(start.length + 1), path))) continue;
    const now = new Date();
    await lutimes(path, now, now).catch(() => {}); // from now on, other processes see that we are writing it
    await rename(path, own).catch(() => {}); // another process may have taken it
  }
  return own;
}

/** Leaves the unfinished file to a later call, if it has not got its name. */
export async function leaveUnfinished(own: string, unfinished: string): Promise<void> {
  await rename(own, unfinished).catch(() => {});
  ours.delete(own);
}

/**
 * Whether another running process, also of another account, owns an unfinished file. A file from before the
 * last restart of the system has no owner, because another process may have the id by now.
 */
async function isAtWork(owner: string, path: string): Promise<boolean> {
  const id = Number.parseInt(owner, 10);
  if (!(id > 0) || id === process.pid || !hasProcess(id)) return false;
  const startedAtMs = Date.now() - uptime() * 1000;
  return ((await lstat(path).catch(() => null))?.mtimeMs ?? 0) > startedAtMs;
}

/** Gives a finished file its name. Rejects with EEXIST if anything has this name already. */
export async function giveName(unnamed: string, path: string): Promise<void> {
  try {
    await link(unnamed, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
    // A file system without hard links, such as exFAT.
    await copyFile(unnamed, path, constants.COPYFILE_EXCL);
  } finally {
    await rm(unnamed, { force: true });
  }
}
