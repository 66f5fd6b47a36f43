/**
 * Locks state that only one process may change at a time: a TART_HOME, for clones and starts of runs, and the
 * images of one registry, for pulls. SQLite's file lock is the kernel's: it is free again when its holder
 * dies. Node offers no other such lock.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';

/** Far longer than any holder needs it. */
const LOCK_TIMEOUT_MS = 120_000;
const POLL_MS = 100;

/** Blocks this process until it has the lock; `using` gives it back. */
export function lockHome(tartHome: string): Disposable {
  return lock(tartHome, 'lock', LOCK_TIMEOUT_MS);
}

/** Waits until another pull from this host has ended, and calls `onWait` first. */
export async function lockHost(tartHome: string, host: string, onWait: () => void): Promise<Disposable> {
  for (let waits = 0; ; waits++) {
    try {
      return lock(tartHome, `lock-${host.replaceAll(':', '-')}`, 0);
    } catch (error) {
      if (!/locked/.test((error as Error).message)) throw error;
      if (waits === 0) onWait();
      await sleep(POLL_MS);
    }
  }
}

function lock(tartHome: string, name: string, timeout: number): Disposable {
  mkdirSync(join(tartHome, 'simulator'), { recursive: true });
  const database = new DatabaseSync(join(tartHome, 'simulator', name), { timeout });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    throw error;
  }
  return { [Symbol.dispose]: () => database.close() };
}
