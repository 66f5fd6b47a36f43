/**
 * Finds the streams that follow a live log with a key that was revoked, and ends them.
 *
 * Invariant: a revocation asks at most {@link ASKED_MAX} logs, those of the attempts that were claimed first.
 * A stream of another log looks for the mark of its key every few seconds, as one without a socket does.
 */
import { type SQL, sql } from 'drizzle-orm';
import { openDatabase } from '../database.ts';
import { logObject } from './build-log.ts';

/** Fits, with the other calls of the request, into the 50 of an invocation on the free plan. */
export const ASKED_MAX = 30;
/**
 * Every later revocation asks a log that is among this many first ones, because new attempts come after it.
 * The rest is room for attempts that are claimed at the same time by clocks that differ.
 */
const SURELY_ASKED = 20;

/** Each log that is not sealed: of the active attempts, and of those whose sealing is in the outbox. */
const LIVE: SQL = sql`(
  SELECT id AS build_id, attempt FROM builds WHERE status IN ('assigned', 'building')
  UNION SELECT build_id, attempt FROM outbox WHERE kind = 'seal_log') AS live JOIN attempts USING (build_id, attempt)`;

/** It never rejects. A stream that it misses ends when it next looks for the mark of its key. */
export async function endFollowersOf(env: Env, keyIds: readonly string[]): Promise<void> {
  try {
    const first = await openDatabase(env).all<{ build: string; attempt: number }>(sql`
      SELECT build_id AS build, attempt FROM ${LIVE} ORDER BY claimed_at, build_id LIMIT ${ASKED_MAX}`);
    const asked = await Promise.allSettled(
      first.map(({ build, attempt }) => logObject(env, build, attempt).endFollowers(keyIds)),
    );
    const failed = asked.filter(({ status }) => status === 'rejected').length;
    if (failed > 0) throw new Error(`${failed} of ${asked.length} logs did not answer`);
  } catch (error) {
    console.error(JSON.stringify({ event: 'followers_not_ended', keys: keyIds, error: String(error) }));
  }
}

/** Whether every later revocation asks the log of this attempt, for as long as the log lives. */
export async function isSurelyAsked(env: Env, buildId: string, attempt: number): Promise<boolean> {
  const upToThis = await openDatabase(env).all(sql`
    SELECT 1 FROM ${LIVE}
    WHERE (claimed_at, build_id) <=
      (SELECT claimed_at, build_id FROM attempts WHERE build_id = ${buildId} AND attempt = ${attempt})
    LIMIT ${SURELY_ASKED + 1}`);
  return upToThis.length <= SURELY_ASKED;
}
