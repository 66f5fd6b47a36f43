/**
 * The lock of TART_HOME, which clones, the start of runs and imports take in turn. SQLite's lock on a file is the
 * kernel's, so it is freed at any death of its holder; Node has no other way to such a lock.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Longer than any holder needs, the 2 s of a hung disk included. */
const LOCK_TIMEOUT_MS = 120_000;

/** Blocks this process until it has the lock; `using` gives it back. */
export function lockHome(tartHome: string): Disposable {
  mkdirSync(join(tartHome, 'simulator'), { recursive: true });
  const database = new DatabaseSync(join(tartHome, 'simulator', 'lock'), { timeout: LOCK_TIMEOUT_MS });
  database.exec('BEGIN EXCLUSIVE');
  return { [Symbol.dispose]: () => database.close() };
}
