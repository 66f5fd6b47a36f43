/**
 * Makes a temporary folder in memory, if the machine has a file system for that.
 *
 * Databases, Durable Objects and journals flush each change to the disk. A disk that others use too takes
 * milliseconds for a flush, and sometimes seconds. That is half of the time of the controller's tests, and
 * longer than some deadlines of the other tests.
 *
 * Invariant: the folder is deleted when the process ends. The next call deletes the folder of a killed
 * process.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasProcess } from '../../client/has-process.ts';

const IN_MEMORY = '/dev/shm';
/** A process has one folder, named after it. */
const nameOf = (pid: number) => `tartbeat-memory-${pid}`;
const NAME = /^tartbeat-memory-(\d+)$/;
/** The tests of transfers need a few hundred megabytes. A container may have 64. */
const FREE_MIN_BYTES = 4 * 1024 ** 3;

/** Null if there is no such file system, or if it is too small. */
export function folderInMemory(): (Disposable & { path: string }) | null {
  if (process.platform !== 'linux') return null;
  const path = join(IN_MEMORY, nameOf(process.pid));
  const remove = () => rmSync(path, { recursive: true, force: true, maxRetries: 5 });
  try {
    const { bavail, bsize } = statfsSync(IN_MEMORY);
    if (bavail * bsize < FREE_MIN_BYTES) return null;
    removeLeftFolders();
    mkdirSync(path, { mode: 0o700 });
    process.once('exit', remove);
    if (runsPrograms(path)) return { path, [Symbol.dispose]: remove };
    remove();
  } catch {
    // There is no such file system, or we may not use it.
  }
  return null;
}

function removeLeftFolders(): void {
  for (const name of readdirSync(IN_MEMORY)) {
    const pid = NAME.exec(name)?.[1];
    if (pid && !hasProcess(Number(pid))) rmSync(join(IN_MEMORY, name), { recursive: true, force: true });
  }
}

/**
 * Tests whether programs may run there, because some machines forbid it, and a test puts scripts into its
 * folder.
 */
function runsPrograms(folder: string): boolean {
  const path = join(folder, 'may-run');
  writeFileSync(path, '#!/bin/sh\nexit 0\n', { mode: 0o700 });
  return spawnSync(path).status === 0;
}
