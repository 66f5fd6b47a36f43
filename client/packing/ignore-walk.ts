/**
 * Walks through a folder by the rules of ignore files, as git reads them. It is for projects without git, and
 * for those with an .easignore.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type IgnoreRules, ruleOn } from '../project/formats/gitignore.ts';
import { isAppleDouble, isLeftOut } from '../project/project-files.ts';
import { SourceError } from './source-error.ts';

/** Why something that is on the disk, or in git's index, is not in the archive. */
type WhyLeftOut =
  | 'ignored'
  | 'easignore'
  /** Git ignores it, and only a rule or glob of the project would bring it. */
  | 'secret'
  | 'always'
  | 'apple_double'
  | 'deleted'
  | 'not_checked_out'
  | 'no_file';

export interface LeftOut {
  /** Relative to the root. A whole folder ends with a slash. */
  path: string;
  why: WhyLeftOut;
}

/** Rules, and the folder that their paths count from: empty, or with a slash at its end. */
export type RulesOfFolder = { folder: string; rules: IgnoreRules };

interface Walked {
  /** Files and links, relative to the root. */
  paths: string[];
  leftOut: LeftOut[];
}

/** `rulesIn` gives the rules that begin to hold in a folder. `start` is such a folder, as in the rules. */
export function walk(
  root: string,
  start: string,
  inherited: readonly RulesOfFolder[],
  rulesIn: (folder: string) => IgnoreRules | null,
  why: WhyLeftOut,
): Walked {
  const paths: string[] = [];
  const leftOut: LeftOut[] = [];
  const look = (folder: string, outer: readonly RulesOfFolder[]) => {
    const own = rulesIn(folder);
    // The nearest rules come first.
    const rules = own === null ? outer : [{ folder, rules: own }, ...outer];
    for (const entry of entriesOf(join(root, folder), why)) {
      const path = `${folder}${entry.name}`;
      const isFolder = entry.isDirectory();
      const leave = (reason: WhyLeftOut) => leftOut.push({ path: isFolder ? `${path}/` : path, why: reason });
      if (entry.name.includes('\ufffd'))
        throw new SourceError(
          `The name of ${JSON.stringify(path)} is not valid UTF-8, so no Mac can store it. Rename it.`,
        );
      if (isLeftOut(entry.name)) leave('always');
      else if (isAppleDouble(path)) leave('apple_double');
      else if (isIgnoredBy(rules, path, isFolder)) leave(why);
      else if (isFolder) look(`${path}/`, rules);
      else if (entry.isFile() || entry.isSymbolicLink()) paths.push(path);
      else leave('no_file');
    }
  };
  look(start, inherited);
  return { paths, leftOut };
}

/** True if the nearest rule that matches the path ignores it. Rules on the folders above it do not count. */
function isIgnoredBy(rules: readonly RulesOfFolder[], path: string, isFolder: boolean): boolean {
  for (const { folder, rules: own } of rules) {
    const said = ruleOn(own, path.slice(folder.length), isFolder);
    if (said !== null) return said === 'ignored';
  }
  return false;
}

function entriesOf(folder: string, why: WhyLeftOut) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    throw new SourceError(
      `The folder ${folder} cannot be read (${(error as NodeJS.ErrnoException).code}). Let your account read it, or name it in ${why === 'easignore' ? '.easignore' : '.gitignore'}.`,
    );
  }
}
