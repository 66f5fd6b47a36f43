/**
 * Keeps a second agent out of one folder.
 *
 * Invariant: the process that holds an AgentLock is the only agent of that folder. The kernel frees the lock
 * when the process dies for any reason, and keeps it while the process is merely stopped.
 *
 * Owns `agent.lock`, a SQLite file on which an exclusive transaction is held because Node offers no other
 * such lock, and `agent.pid`, which is for people alone.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { requireUsable } from './forbidden.ts';

export interface AgentLock extends Disposable {
  path: string;
}

export class AgentLockedError extends Error {
  override name = 'AgentLockedError';
  /** Null if `agent.pid` could not be read. */
  holderPid: number | null;
  constructor(path: string, holderPid: number | null) {
    const who = holderPid === null ? '' : ` (pid ${holderPid})`;
    super(`another agent${who} is running with ${path}. Stop that one, or start this one with another \`--config\``);
    this.holderPid = holderPid;
  }
}

const SQLITE_BUSY = 5;

/** Throws AgentLockedError if another process holds it. Does not wait. */
export function acquireAgentLock(dir: string): AgentLock {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, 'agent.lock');
  const pidPath = join(dir, 'agent.pid');
  requireUsable(path);
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // The journal is in memory: nothing is ever written, so a crash leaves nothing to roll back.
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
