/**
 * Lets one process at a time change a file that several processes write.
 *
 * Invariant: the work is synchronous, so a process never waits for a lock that it holds itself. The kernel
 * frees the lock when the process dies.
 */
import { DatabaseSync } from 'node:sqlite';
import { requireUsable } from './forbidden.ts';

/** Long enough, because a holder only reads and writes one small file. */
const WAIT_MS = 5_000;

/** Throws if another process holds the lock for longer than WAIT_MS. */
export function withFileLock<T>(path: string, work: () => T): T {
  requireUsable(path);
  const database = new DatabaseSync(path, { timeout: WAIT_MS });
  try {
    // The journal is in memory: nothing is ever written, so a crash leaves nothing to roll back.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return work();
  } finally {
    database.close();
  }
}
