/**
 * Keeps a second agent out of one folder.
 *
 * Invariant: whoever holds an AgentLock is the only agent of that folder. The lock is an exclusive transaction on a SQLite file, that is,
 * a lock of the kernel: gone with the process however it dies, kept while it is merely stopped. Node offers no other such lock. The pid beside it is for people alone.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export interface AgentLock extends Disposable {
  path: string;
}

export class AgentLockedError extends Error {
  override name = 'AgentLockedError';
  /** Null if it could not be read. */
  holderPid: number | null;
  constructor(path: string, holderPid: number | null) {
    const who = holderPid === null ? '' : ` (pid ${holderPid})`;
    super(`another agent${who} is running with ${path}. Stop it, or give this one another --config`);
    this.holderPid = holderPid;
  }
}

const SQLITE_BUSY = 5;

/** Throws AgentLockedError if another process holds it. Does not wait. */
export function acquireAgentLock(dir: string): AgentLock {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, 'agent.lock');
  const pidPath = join(dir, 'agent.pid');
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // Without a journal file: nothing is ever written, and a crash must leave nothing to roll back.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    throw new AgentLockedError(path, readPid(pidPath));
  }
  writeFileSync(pidPath, `${process.pid}\n`, { mode: 0o600 });
  return {
    path,
    [Symbol.dispose]() {
      rmSync(pidPath, { force: true });
      database.close();
    },
  };
}

function readPid(pidPath: string): number | null {
  try {
    const pid = Number(readFileSync(pidPath, 'utf8'));
    return Number.isSafeInteger(pid) && pid > 0 ? pid : null;
  } catch {
    return null;
  }
}
