/**
 * Lets one process at a time change a file that several processes write.
 *
 * Invariant: the work is synchronous, so a process never waits for a lock that it holds itself. The kernel
 * frees the lock when the process dies.
 */
import { DatabaseSync } from 'node:sqlite';
import { requireUsable } from './forbidden.ts';

/** A holder reads and writes one small file. */
const WAIT_MS = 5_000;

/** Throws if another process holds the lock for longer than that takes. */
export function withFileLock<T>(path: string, work: () => T): T {
  requireUsable(path);
  const database = new DatabaseSync(path, { timeout: WAIT_MS });
  try {
    // The journal stays in memory: nothing is ever written, so a crash leaves nothing to roll back.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return work();
  } finally {
    database.close();
  }
}
