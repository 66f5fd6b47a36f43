/**
 * Says what a look at a build in its VM finds, and asks the VM for a status or a part of the log once.
 *
 * Invariant: an answer that does not come ends the attempt with `transfer_failed` at the step `log`, after
 * all the patience of the session.
 */
import { type BuildStatus, parseBuildStatus } from '../guest/answers.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import { buildStatus, readLog } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';

export const READ_MAX_BYTES = 4 * 1024 * 1024;
export const STEP = 'log';

/** A status is null if it was cut short. Bytes follow those of the spool. */
export type Look = { status: BuildStatus | null } | { bytes: Buffer };

/** Looks at a build again and again, until the build has ended or the attempt has. */
export interface Looks {
  /** Rejects with AttemptOver or with the signal's reason. */
  next(): Promise<Look>;
  /** Frees what the looks need in the VM. */
  close(): void;
}

export async function askStatus(guest: Guest, key: AttemptKey): Promise<BuildStatus | null> {
  const asked = guest.exec(buildStatus(key), { timeoutMs: GUEST_COMMAND_MS });
  return parseBuildStatus((await expectSuccess(STEP, asked)).stdout.toString('latin1'));
}

/** Fewer bytes, or none, if the build has truncated its own log meanwhile. */
export async function readPart(guest: Guest, fromBytes: number, untilBytes: number): Promise<Buffer> {
  const maxBytes = Math.min(READ_MAX_BYTES, untilBytes - fromBytes);
  const options = { timeoutMs: GUEST_COMMAND_MS, maxOutputBytes: READ_MAX_BYTES + 1 };
  return (await expectSuccess(STEP, guest.exec(readLog(fromBytes, maxBytes), options))).stdout;
}

/** How long the log was at this look; 0 for a build without one. */
export const logBytesOf = (status: BuildStatus | null): number =>
  status && status.state !== 'not_started' ? status.logBytes : 0;
