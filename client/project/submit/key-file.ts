/**
 * Reads the file of a store key that eas.json names. Only whoever sets the store key calls it, once.
 *
 * Invariant: eas.json comes from the repository, so the file is read only if it lies inside the project, with
 * all links followed. A variable in the path changes nothing of that, because the repository chooses it.
 */
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';
import { STORE_KEY_TEXT_MAX } from '#contract';
import { named, textOf } from '../formats/text.ts';
import { type Found, found, problem } from '../found.ts';

/**
 * @param root the folder of the project on this disk
 * @param appRoot the folder of the app in it; `path` is relative to it
 */
export async function readKeyFile(root: string, appRoot: string, path: string): Promise<Found<string>> {
  const outside = problem(
    `The store key ${named(path)} that eas.json names lies outside of the project, so it is not read. Name the file yourself when you set the store key, and remove the path from eas.json.`,
  );
  if (path.includes('\0')) return outside;
  const base = await realpath(root);
  const real = await realpath(isAbsolute(path) ? path : join(base, appRoot, path)).catch(() => null);
  if (real === null) {
    // Whether a file exists outside of the project is told to nobody.
    const asked = relative(base, isAbsolute(path) ? path : join(base, appRoot, path));
    if (isOutside(asked)) return outside;
    return problem(
      `The store key ${named(path)} that eas.json names does not exist. Correct the path, or add the file.`,
    );
  }
  if (isOutside(relative(base, real))) return outside;
  // The path is real. A link that takes the place of the file now is not followed.
  const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > STORE_KEY_TEXT_MAX)
      return problem(
        `The store key ${named(path)} is no file of at most ${STORE_KEY_TEXT_MAX / 1024} KiB. Correct the path.`,
      );
    const content = textOf(await file.readFile());
    return content === null ? problem(`The store key ${named(path)} is not text. Correct the path.`) : found(content);
  } finally {
    await file.close();
  }
}

const isOutside = (path: string): boolean => path === '..' || path.startsWith(`..${sep}`) || isAbsolute(path);
