/**
 * Decides who may write to an attempt, or take what belongs to it. Reads only.
 *
 * Invariant: this is the one place that decides it. Heartbeats, reports, logs and files all ask here.
 */
import { and, eq, sql } from 'drizzle-orm';
import { isInAftermath } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { ATTEMPT_COLUMNS, type AttemptRow, BUILD_COLUMNS, type BuildRow } from '../builds/rows.ts';
import { aftermathIsOver } from '../builds/transitions.ts';
import { openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { attempts, builds } from '../schema/index.ts';

export type Purpose = 'beat' | 'report' | 'evidence' | 'log' | 'upload' | 'take' | 'kept';

interface Rule {
  /**
   * True: an attempt's token is proof enough, and D1 is not asked. The token was handed out with this very
   * attempt. The receiver of the message knows whether the attempt has ended: BuildDeadline, the
   * compare-and-set, or the sealed log.
   */
  tokenSuffices: boolean;
  /** Whether the key of the attempt's worker may do it too. */
  workersKey: boolean;
  /** Until when it is allowed, as far as this file decides it. */
  until: 'the receiver decides' | 'end of the aftermath' | 'end of the attempt';
  /** The refusal of a worker's key for an attempt that does not exist. The heartbeat is a fixed contract. */
  unknownAttempt: 'forbidden' | 'not_found';
}

const RULES: Record<Purpose, Rule> = {
  beat: { tokenSuffices: true, workersKey: true, until: 'the receiver decides', unknownAttempt: 'forbidden' },
  report: { tokenSuffices: true, workersKey: true, until: 'the receiver decides', unknownAttempt: 'not_found' },
  evidence: { tokenSuffices: true, workersKey: true, until: 'the receiver decides', unknownAttempt: 'not_found' },
  log: { tokenSuffices: true, workersKey: true, until: 'end of the aftermath', unknownAttempt: 'not_found' },
  // Old agents upload with the worker's key, by the routes that belong to no build.
  upload: { tokenSuffices: true, workersKey: false, until: 'the receiver decides', unknownAttempt: 'not_found' },
  // A kept VM outlives the token of its attempt.
  kept: { tokenSuffices: false, workersKey: true, until: 'the receiver decides', unknownAttempt: 'not_found' },
  take: { tokenSuffices: false, workersKey: false, until: 'end of the attempt', unknownAttempt: 'not_found' },
};

/** `build` is null where a token sufficed and D1 was not asked. */
type Writer<Asked extends Purpose> = { ok: true; attempt: number; build: BuildOf<Asked> };
type BuildOf<Asked extends Purpose> = Asked extends 'take' | 'kept' ? BuildRow : BuildRow | null;

type WriterRefusal = Refusal & { code: 'not_found' | 'forbidden' | 'stale_attempt' | 'attempt_ended' };

/**
 * Whether `caller` may do `purpose` with the attempt `named`. Null names the caller's own attempt: that of
 * its token, or the current one of the build for a worker's key.
 */
export async function writerOf<Asked extends Purpose>(
  env: Env,
  caller: AttemptCaller,
  buildId: string,
  named: number | null,
  purpose: Asked,
  now: number,
): Promise<Writer<Asked> | WriterRefusal> {
  const { tokenSuffices, workersKey, until, unknownAttempt } = RULES[purpose];
  if (caller.kind === 'worker') {
    if (!workersKey) return refuse('forbidden', 'this needs a token of the attempt');
  } else {
    if (named !== null && named !== caller.attempt)
      return refuse('forbidden', `attempt: the token is for attempt ${caller.attempt}, not ${named}`);
    if (tokenSuffices) return { ok: true, attempt: caller.attempt, build: null as BuildOf<Asked> };
  }

  const row = await read(env, buildId, named ?? (caller.kind === 'worker' ? null : caller.attempt));
  if (!row) return refuse('not_found', `there is no build ${buildId}`);
  const { build, attempt } = row;
  if (!attempt) return refuse(unknownAttempt, `the build has no attempt ${named ?? build.attempt}`);
  if (caller.kind === 'worker' && attempt.workerId !== caller.workerId)
    return refuse('forbidden', `attempt ${attempt.attempt} belongs to another worker`);
  if (until === 'end of the aftermath' && attempt.endedAt !== null && !isInAftermath(attempt.endedAt, now))
    return aftermathIsOver(attempt.attempt);
  if (until === 'end of the attempt') {
    if (attempt.attempt < build.attempt)
      return refuse('stale_attempt', `attempt ${attempt.attempt} is over; the build is at attempt ${build.attempt}`);
    if (attempt.endedAt !== null) return refuse('attempt_ended', `attempt ${attempt.attempt} has ended`);
  }
  return { ok: true, attempt: attempt.attempt, build };
}

const refuse = (code: WriterRefusal['code'], message: string): WriterRefusal => ({ ...refusal(code, message), code });

/** The build with the given attempt, or with its current one. */
async function read(
  env: Env,
  buildId: string,
  attempt: number | null,
): Promise<{ build: BuildRow; attempt: AttemptRow | null } | undefined> {
  return openDatabase(env)
    .select({ build: BUILD_COLUMNS, attempt: ATTEMPT_COLUMNS })
    .from(builds)
    .leftJoin(
      attempts,
      and(eq(attempts.buildId, builds.id), eq(attempts.attempt, attempt === null ? builds.attempt : sql`${attempt}`)),
    )
    .where(eq(builds.id, buildId))
    .get();
}
