/** Reads all files of a folder while other processes still change it. */
import { type Dirent, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

export const filesBelow = (folder: string): string[] =>
  entriesOf(folder).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesBelow(path);
    return entry.isFile() ? [path] : [];
  });

/** Empty for the disk of a VM, which is a sparse file. */
export const contentOf = (path: string): Buffer =>
  ifThere(() => (statSync(path).blocks === 0 ? null : readFileSync(path))) ?? Buffer.alloc(0);

const entriesOf = (folder: string): Dirent[] => ifThere(() => readdirSync(folder, { withFileTypes: true })) ?? [];

/** Null if it was just removed. */
function ifThere<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
