/**
 * The logs of attempts, live or sealed: appended, read from any offset, sealed. Asks the attempt's BuildLog while that holds
 * the log, R2 from then on; the caller does not know the difference.
 */
import { and, eq, isNull } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import { AFTERMATH_MS, type LogAppended } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { attemptStanding, isInAftermath } from '../attempts/writers.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { attempts, builds } from '../schema.ts';
import type { ClosedLog } from './build-log.ts';
import { logPrefix, readSegments, SEGMENT_BYTES } from './segments.ts';

/** One read of a log's object or of R2: a segment, so that a whole log is decompressed once. */
const READ_MAX_BYTES = SEGMENT_BYTES;
/** How far back the last lines are looked for. */
const TAIL_MAX_BYTES = 1024 * 1024;
const TAIL_WINDOW_BYTES = 64 * 1024;

const logObject = (env: Env, buildId: string, attempt: number) => env.LOGS.getByName(`${buildId}/${attempt}`);

/**
 * Adds to the caller's own log. `wrong_offset` with what is expected, `log_sealed`, `too_large`; for a worker's key also
 * `not_found`, `forbidden`, `attempt_ended`.
 *
 * A run token is proof enough: it was handed out with this very attempt, and sealing is what ends the aftermath. So the
 * hot path of a build asks no database.
 */
export async function appendLog(
  env: Env,
  caller: AttemptCaller,
  { buildId, attempt, offset }: { buildId: string; attempt: number; offset: number },
  bytes: Uint8Array<ArrayBuffer>,
  now: number,
): Promise<({ ok: true } & LogAppended) | Refusal> {
  const refused = await refuseWriter(env, caller, buildId, attempt, now);
  if (refused) return refused;
  const result = await logObject(env, buildId, attempt).append(offset, bytes);
  if (result.ok) return result;
  if (result.reason === 'sealed')
    return refusal('log_sealed', `the log of attempt ${attempt} is sealed at ${result.length} bytes`);
  if (result.reason === 'full')
    return refusal('too_large', `the log is full at ${result.length} bytes, the rest is not kept`);
  return {
    ...refusal('wrong_offset', `offset: the log has ${result.length} bytes, ${offset} would leave a gap`),
    expectedOffset: result.length,
  };
}

async function refuseWriter(
  env: Env,
  caller: AttemptCaller,
  buildId: string,
  attempt: number,
  now: number,
): Promise<Refusal | null> {
  if (caller.kind !== 'worker')
    return caller.attempt === attempt
      ? null
      : refusal('forbidden', `attempt: the token is for attempt ${caller.attempt}`);
  const { build, attempt: row } = await attemptStanding(env, buildId, attempt);
  if (!build) return refusal('not_found', 'there is no such build');
  if (!row) return refusal('not_found', `the build has no attempt ${attempt}`);
  if (row.workerId !== caller.workerId) return refusal('forbidden', `attempt ${attempt} belongs to another worker`);
  if (row.endedAt !== null && !isInAftermath(row.endedAt, now))
    return refusal('attempt_ended', `attempt ${attempt} ended more than ${AFTERMATH_MS / 60_000} minutes ago`);
  return null;
}

/** A log as it stood when it was opened. Open it again to see it grow. */
export interface OpenLog {
  buildId: string;
  /** 0: the build has not been claimed yet, and the log is empty. */
  attempt: number;
  length: number;
  /** All that the attempt printed is here. Stays false for a log of which the end was lost. */
  complete: boolean;
  /** Nothing will be added. */
  sealed: boolean;
  endedAt: number | null;
  /** What the agent says the whole length is. */
  totalLength: number | null;
}

/** The given attempt's log, or the newest's. `not_found`. */
export async function openLog(
  env: Env,
  buildId: string,
  attempt?: number,
  follower?: string,
): Promise<({ ok: true } & OpenLog) | Refusal> {
  const row = await drizzle(env.DB)
    .select({ newest: builds.attempt, buildEndedAt: builds.endedAt, attempt: attempts })
    .from(builds)
    .leftJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, attempt ?? builds.attempt)))
    .where(eq(builds.id, buildId))
    .get();
  if (!row) return refusal('not_found', 'there is no such build');
  if (!row.attempt) {
    if (attempt !== undefined) return refusal('not_found', `attempt: the build has no attempt ${attempt}`);
    const over = row.buildEndedAt !== null;
    return {
      ok: true,
      buildId,
      attempt: 0,
      length: 0,
      complete: over,
      sealed: over,
      endedAt: row.buildEndedAt,
      totalLength: null,
    };
  }
  const { endedAt, logLength, logSealedLength, logComplete, logDeletedAt } = row.attempt;
  if (logDeletedAt !== null)
    return refusal('not_found', `the log of attempt ${row.attempt.attempt} was kept for its days, and is deleted`);
  const shared = { ok: true as const, buildId, attempt: row.attempt.attempt, endedAt, totalLength: logLength };
  if (row.attempt.logR2Key !== null)
    return { ...shared, length: logSealedLength ?? 0, complete: logComplete === true, sealed: true };
  const { length } = await logObject(env, buildId, row.attempt.attempt).read(0, 0, follower);
  return { ...shared, length, complete: endedAt !== null && length === logLength, sealed: false };
}

export interface LogPart {
  bytes: Uint8Array<ArrayBuffer>;
  /** Of the whole log, as it stands now. */
  length: number;
  /** Set when nothing will be added any more. */
  closed: ClosedLog | null;
}

/** Up to `maxBytes` from `offset`, and 4 MiB at most; none at the end. `wait` as in {@link BuildLog.read}, for a log that runs. */
export async function readLog(
  env: Env,
  log: Pick<OpenLog, 'buildId' | 'attempt' | 'length' | 'complete' | 'sealed'>,
  offset: number,
  maxBytes: number,
  follower?: string,
  wait?: { bytes: number; ms: number },
): Promise<LogPart> {
  const max = Math.min(maxBytes, READ_MAX_BYTES);
  let closed: ClosedLog | null = log.sealed ? { length: log.length, complete: log.complete } : null;
  if (log.attempt === 0) return { bytes: new Uint8Array(), length: 0, closed };
  if (!closed) {
    const read = await logObject(env, log.buildId, log.attempt).read(offset, max, follower, wait);
    if (read.bytes) return { bytes: new Uint8Array(read.bytes), length: read.length, closed: read.closed };
    closed = read.closed!;
  }
  const { length } = closed;
  const size = Math.min(max, length - offset);
  if (size <= 0) return { bytes: new Uint8Array(), length, closed };
  return { bytes: await readSegments(env.BLOBS, logPrefix(log.buildId, log.attempt), offset, size), length, closed };
}

/** The bytes from `from` to before `to`, which must be within the log. */
export function streamLog(env: Env, log: OpenLog, from: number, to: number): ReadableStream<Uint8Array> {
  let offset = from;
  return new ReadableStream({
    async pull(controller) {
      if (offset >= to) return controller.close();
      const toBoundary = SEGMENT_BYTES - (offset % SEGMENT_BYTES);
      const { bytes } = await readLog(env, log, offset, Math.min(to - offset, toBoundary));
      if (bytes.byteLength === 0) return controller.error(new Error(`the log of ${log.buildId} ends at ${offset}`));
      offset += bytes.byteLength;
      controller.enqueue(bytes);
    },
  });
}

/** Where the last `lines` lines begin; looks back 1 MiB at most. A newline at the very end begins no line. */
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

/**
 * Moves the log of an ended attempt to R2: at once if it is what the agent says it should be, and otherwise, marked as
 * incomplete, when nothing may follow any more. `later`: it still runs, or the end of its log may still come.
 * Repeat it until it says `sealed`, also after a failure at any point.
 */
export async function sealLog(env: Env, buildId: string, attempt: number, now: number): Promise<'sealed' | 'later'> {
  const { attempt: row } = await attemptStanding(env, buildId, attempt);
  if (!row) return 'sealed';
  if (row.endedAt === null) return 'later';
  const log = logObject(env, buildId, attempt);
  if (row.logR2Key === null) {
    const total =
      row.logLength !== null && row.logSha256 !== null ? { length: row.logLength, sha256: row.logSha256 } : null;
    const closed = await log.close(total, !isInAftermath(row.endedAt, now));
    if (!closed) return 'later';
    const prefix = logPrefix(buildId, attempt);
    await log.writeSegments(prefix);
    await drizzle(env.DB)
      .update(attempts)
      .set({ logR2Key: prefix, logSealedLength: closed.length, logComplete: closed.complete })
      .where(and(eq(attempts.buildId, buildId), eq(attempts.attempt, attempt), isNull(attempts.logR2Key)));
  }
  await log.empty();
  return 'sealed';
}

/** Takes a portion of a sealed log out of R2; true when nothing of it is left. */
export async function deleteSealedLog(env: Env, buildId: string, attempt: number): Promise<boolean> {
  const { objects, truncated } = await env.BLOBS.list({ prefix: `${logPrefix(buildId, attempt)}/`, limit: 500 });
  if (objects.length > 0) await env.BLOBS.delete(objects.map(({ key }) => key));
  return !truncated;
}
