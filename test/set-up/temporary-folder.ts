/**
 * Global set-up: lets all tests keep their temporary files in memory, where the machine has a file system for that.
 *
 * Databases, Durable Objects and journals flush every change to the disk. A disk that others use too takes milliseconds for
 * a flush, and sometimes seconds: half of the time of the controller's tests, and longer than some deadlines of the others.
 *
 * Invariant: nothing stays in memory when the tests have ended. What a killed run has left goes at the next run.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const IN_MEMORY = '/dev/shm';
/** A folder for each run, with the number of its process. */
const NAME = /^tartbeat-tests-(\d+)$/;
/** The tests of transfers need a few hundred megabytes. A container may have 64. */
const FREE_MIN_BYTES = 4 * 1024 ** 3;

export function setup(): (() => void) | undefined {
  if (process.platform !== 'linux' || process.env.TMPDIR !== undefined) return undefined;
  const folder = join(IN_MEMORY, `tartbeat-tests-${process.pid}`);
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  try {
    const { bavail, bsize } = statfsSync(IN_MEMORY);
    if (bavail * bsize < FREE_MIN_BYTES) return undefined;
    removeLeftFolders();
    mkdirSync(folder, { mode: 0o700 });
    process.once('exit', remove);
    if (!runsPrograms(folder)) return undefined;
  } catch {
    return undefined; // no such file system, or none that we may use
  }
  process.env.TMPDIR = folder;
  return remove;
}

function removeLeftFolders(): void {
  for (const name of readdirSync(IN_MEMORY)) {
    const pid = NAME.exec(name)?.[1];
    if (pid && !isAlive(Number(pid))) rmSync(join(IN_MEMORY, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Some machines forbid it there, and tests put scripts into their folders. */
function runsPrograms(folder: string): boolean {
  const path = join(folder, 'may-run');
  writeFileSync(path, '#!/bin/sh\nexit 0\n', { mode: 0o700 });
  return spawnSync(path).status === 0;
}
