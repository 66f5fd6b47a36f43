/** Tells whether files can lie side by side in one folder of a Mac. Pure. */

/**
 * Says which two of these relative paths cannot both be files, and why. Null if all can. A Mac's file system
 * takes letters that differ only in case, and the forms of one accent, for the same.
 */
export function whyPathsClash(paths: readonly string[]): string | null {
  const files = new Map<string, string>();
  for (const path of paths) {
    const other = files.get(folded(path));
    if (other !== undefined) return `${other} and ${path} differ only in case, so they are one file on a Mac`;
    files.set(folded(path), path);
  }
  for (const [name, path] of files) {
    for (let end = name.indexOf('/'); end !== -1; end = name.indexOf('/', end + 1)) {
      const folder = files.get(name.slice(0, end));
      if (folder !== undefined) return `${folder} cannot be a file, because ${path} needs a folder of that name`;
    }
  }
  return null;
}

const folded = (path: string): string => path.normalize('NFD').toLowerCase().toUpperCase().normalize('NFD');
