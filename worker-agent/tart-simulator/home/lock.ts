/**
 * Locks a TART_HOME, so that clones, starts of runs and pulls wait for each other. SQLite's lock on a file is
 * the kernel's: it is free again when its holder dies. Node offers no other such lock.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Far longer than any holder needs it. */
const LOCK_TIMEOUT_MS = 120_000;

/** Blocks this process until it has the lock; `using` gives it back. */
export function lockHome(tartHome: string): Disposable {
  mkdirSync(join(tartHome, 'simulator'), { recursive: true });
  const database = new DatabaseSync(join(tartHome, 'simulator', 'lock'), { timeout: LOCK_TIMEOUT_MS });
  database.exec('BEGIN EXCLUSIVE');
  return { [Symbol.dispose]: () => database.close() };
}
