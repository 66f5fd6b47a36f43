/** Looks into folders that may not exist. */
import { readdirSync, statSync } from 'node:fs';

/** Empty for a folder that does not exist. */
export function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Follows links: false for a link without a target. */
export function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
