/** Global set-up: lets all tests keep their temporary files in memory, unless TMPDIR is set. */
import { folderInMemory } from '../../local/farm/memory-folder.ts';

export function setup(): (() => void) | undefined {
  if (process.env.TMPDIR !== undefined) return undefined;
  const folder = folderInMemory();
  if (!folder) return undefined;
  process.env.TMPDIR = folder.path;
  return () => folder[Symbol.dispose]();
}
