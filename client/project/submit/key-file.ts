/**
 * Reads the file of a store key that eas.json names. Only the command that sets the store key calls it, once.
 *
 * Invariant: eas.json comes from the repository, so the file is read only if it lies inside the project, with
 * all links followed, and in neither `.git` nor `node_modules`. That also holds for a path with a variable,
 * because the repository chooses the variable.
 */
import { relative, resolve } from 'node:path';
import { STORE_KEY_TEXT_MAX } from '#contract';
import { bytesOf, isBelow, realPathOf } from '../../safe-files.ts';
import { named, textOf } from '../formats/text.ts';
import { type Found, found, problem } from '../found.ts';
import { isLeftOut, LEFT_OUT } from '../project-files.ts';

/**
 * @param root the folder of the project on this disk
 * @param appRoot the folder of the app in it; `path` is relative to it
 */
export function readKeyFile(root: string, appRoot: string, path: string): Found<string> {
  const outside = problem(
    `The store key ${named(path)} that eas.json names lies outside of the project, so it is not read. Name the file yourself when you set the store key, and remove the path from eas.json.`,
  );
  if (path.includes('\0')) return outside;
  const base = realPathOf(root) ?? root;
  const asked = resolve(base, appRoot, path);
  const real = realPathOf(asked);
  // The message is the same for every path outside of the project, so it does not tell whether a file exists
  // there.
  if (!isBelow(base, real ?? asked)) return outside;
  if ([asked, real ?? asked].some((one) => isBelow(base, one) && isLeftOut(relative(base, one))))
    return problem(
      `The store key ${named(path)} that eas.json names lies in ${LEFT_OUT.join(' or ')}, so it is not read. Correct the path.`,
    );
  if (real === null)
    return problem(
      `The store key ${named(path)} that eas.json names does not exist. Correct the path, or add the file.`,
    );
  // The path has no links. If a link replaces the file now, it is not followed.
  const bytes = bytesOf(real, STORE_KEY_TEXT_MAX + 1);
  if (bytes === null || bytes.length > STORE_KEY_TEXT_MAX)
    return problem(
      `The store key ${named(path)} is no file of at most ${STORE_KEY_TEXT_MAX / 1024} KiB. Correct the path.`,
    );
  const content = textOf(bytes);
  return content === null ? problem(`The store key ${named(path)} is not text. Correct the path.`) : found(content);
}
