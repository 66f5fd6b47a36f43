/**
 * Reads the log of an attempt from any offset, live or sealed. It asks the attempt's BuildLog while that
 * holds the log, and R2 after that. The caller sees no difference.
 */
import { and, eq } from 'drizzle-orm';
import { ATTEMPT_COLUMNS } from '../builds/rows.ts';
import { openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { attempts, builds } from '../schema/index.ts';
import { logObject } from './build-log.ts';
import type { ClosedLog } from './closed-log.ts';
import { logPrefix, readSegments, SEGMENT_BYTES, toSegmentEnd } from './segments.ts';

/** One read takes at most a segment, so that reading a whole log unpacks each segment once. */
const READ_MAX_BYTES = SEGMENT_BYTES;
/** How far back from the end we look for the start of the last lines. */
const TAIL_MAX_BYTES = 1024 * 1024;
const TAIL_WINDOW_BYTES = 64 * 1024;

/** The facts that D1 has about the log of an attempt. */
export interface FoundLog {
  buildId: string;
  /** 0 while no worker has claimed the build; the log is empty then. */
  attempt: number;
  newestAttempt: number;
  buildEndedAt: number | null;
  endedAt: number | null;
  /** The whole length, as the agent told it. */
  totalLength: number | null;
  /** Set if the log is in R2, and nothing more will be added. */
  sealed: ClosedLog | null;
}

/** A log as it was when it was opened. Open it again to see it grow. */
export interface OpenLog extends FoundLog {
  length: number;
  /** True if the log has all that the attempt printed. It stays false for a log whose end was lost. */
  complete: boolean;
}

/** Opens the log of the given attempt, or of the newest one. Refused: `not_found`. */
export async function openLog(
  env: Env,
  buildId: string,
  attempt?: number,
): Promise<({ ok: true } & OpenLog) | Refusal> {
  const found = await findLog(env, buildId, attempt);
  if (!found.ok || found.sealed) return found.ok ? { ...found, ...found.sealed! } : found;
  if (found.attempt === 0) return { ...found, length: 0, complete: false };
  const { length } = await logObject(env, buildId, found.attempt).read(0, 0);
  return { ...found, length, complete: found.endedAt !== null && length === found.totalLength };
}

/** As {@link openLog}, but asks only D1, so that no object wakes. */
export async function findLog(
  env: Env,
  buildId: string,
  attempt?: number,
): Promise<({ ok: true } & FoundLog) | Refusal> {
  const row = await openDatabase(env)
    .select({ newestAttempt: builds.attempt, buildEndedAt: builds.endedAt, attempt: ATTEMPT_COLUMNS })
    .from(builds)
    .leftJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, attempt ?? builds.attempt)))
    .where(eq(builds.id, buildId))
    .get();
  if (!row) return refusal('not_found', `there is no build ${buildId}`);
  const { newestAttempt, buildEndedAt } = row;
  const build = { ok: true as const, buildId, newestAttempt, buildEndedAt };
  if (!row.attempt) {
    if (attempt !== undefined) return refusal('not_found', `attempt: the build has no attempt ${attempt}`);
    const sealed = buildEndedAt === null ? null : { length: 0, complete: true };
    return { ...build, attempt: 0, endedAt: buildEndedAt, totalLength: null, sealed };
  }
  const { endedAt, logLength, logSealedLength, logComplete, logDeletedAt, logR2Key } = row.attempt;
  if (logDeletedAt !== null)
    return refusal(
      'not_found',
      `the log of attempt ${row.attempt.attempt} was deleted when the days that logs are kept were over`,
    );
  const sealed = logR2Key === null ? null : { length: logSealedLength ?? 0, complete: logComplete === true };
  return { ...build, attempt: row.attempt.attempt, endedAt, totalLength: logLength, sealed };
}

interface LogPart {
  bytes: Uint8Array<ArrayBuffer>;
  /** Of the whole log, as it is now. */
  length: number;
  /** Set when nothing more will be added. */
  closed: ClosedLog | null;
}

/** Reads up to `maxBytes` from `offset`, and 4 MiB at most; nothing at the end. */
export async function readLog(
  env: Env,
  log: Pick<FoundLog, 'buildId' | 'attempt' | 'sealed'>,
  offset: number,
  maxBytes: number,
): Promise<LogPart> {
  const max = Math.min(maxBytes, READ_MAX_BYTES);
  let closed = log.sealed;
  if (log.attempt === 0) return { bytes: new Uint8Array(), length: 0, closed };
  if (!closed) {
    const read = await logObject(env, log.buildId, log.attempt).read(offset, max);
    if (read.bytes) return { bytes: new Uint8Array(read.bytes), length: read.length, closed: read.closed };
    closed = read.closed!;
  }
  const { length } = closed;
  const size = Math.min(max, length - offset);
  if (size <= 0) return { bytes: new Uint8Array(), length, closed };
  return { bytes: await readSegments(env.BLOBS, logPrefix(log.buildId, log.attempt), offset, size), length, closed };
}

/** Streams the bytes from `from` to before `to`, which must be within the log. */
export function streamLog(env: Env, log: OpenLog, from: number, to: number): ReadableStream<Uint8Array> {
  let offset = from;
  return new ReadableStream({
    async pull(controller) {
      if (offset >= to) return controller.close();
      const { bytes } = await readLog(env, log, offset, Math.min(to - offset, toSegmentEnd(offset)));
      if (bytes.byteLength === 0) return controller.error(new Error(`the log of ${log.buildId} ends at ${offset}`));
      offset += bytes.byteLength;
      controller.enqueue(bytes);
    },
  });
}

/** Finds where the last `lines` lines begin, 1 MiB back at most. A newline at the very end begins no line. */
export async function tailOffset(env: Env, log: OpenLog, lines: number): Promise<number> {
  if (lines <= 0) return log.length;
  const earliest = Math.max(0, log.length - TAIL_MAX_BYTES);
  let left = lines;
  for (let end = log.length; end > earliest; ) {
    const start = Math.max(earliest, end - TAIL_WINDOW_BYTES);
    const window = await readWindow(env, log, start, end);
    for (let i = window.byteLength - 1; i >= 0; i--) {
      const at = start + i;
      if (window[i] === 0x0a && at !== log.length - 1 && --left === 0) return at + 1;
    }
    end = start;
  }
  return earliest;
}

async function readWindow(env: Env, log: OpenLog, from: number, to: number): Promise<Uint8Array> {
  return new Uint8Array(await new Response(streamLog(env, log, from, to)).arrayBuffer());
}
