/**
 * Finds and ends many submissions by few statements, however many they are.
 *
 * Adds rows to `submission_work`, by which the objects hear of it.
 */
import { and, eq, type SQL, sql } from 'drizzle-orm';
import { DAY_MS } from '#contract';
import { openDatabase } from '../database.ts';
import { submissions, submissionWork } from '../schema/index.ts';
import { isNotEnded, isUnfinished, writeChange } from './changes.ts';
import { AFTER_SUCCESS } from './create.ts';
import type { SubmissionRow } from './submitted.ts';
import { changeOf } from './upload-state.ts';

/**
 * Adds work that cancels the unfinished submissions of these keys, and answers their ids. Only the object of
 * a submission can cancel it, because it knows what the store has.
 */
export async function cancelSubmissionsOf(env: Env, keyIds: readonly string[], now: number): Promise<string[]> {
  const db = openDatabase(env);
  const ofKeys = sql`created_by_key IN (SELECT value FROM json_each(${JSON.stringify(keyIds)}))`;
  const [found] = await db.batch([
    db.select({ id: submissions.id }).from(submissions).where(and(isUnfinished, ofKeys)),
    db.insert(submissionWork).select(sql`
      SELECT NULL, 'cancel_submission', id, ${now}, 0 FROM submissions WHERE ${isNotEnded} AND ${ofKeys}
        AND NOT EXISTS (SELECT 1 FROM submission_work WHERE kind = 'cancel_submission' AND target = submissions.id)`),
  ]);
  return found.map(({ id }) => id);
}

/** Nobody expects that an older build still submits itself. */
const MISSED_MAX_MS = 7 * DAY_MS;
const MISSED_PORTION = 100;

/**
 * Adds the work for builds that ask for a submission and whose success the former release has written. That
 * release does not add such work.
 */
export async function leaveMissedSubmissions(env: Env, now: number): Promise<void> {
  await openDatabase(env)
    .insert(submissionWork)
    .select(sql`
      SELECT NULL, 'submit_build', builds.id, ${now}, 0
      FROM builds JOIN build_submits ON build_submits.build_id = builds.id AND build_submits.reason IS NULL
      WHERE builds.ended_at >= ${now - MISSED_MAX_MS} AND builds.status = 'succeeded'
        AND NOT EXISTS (SELECT 1 FROM submissions
          WHERE submissions.build_id = builds.id AND request_name = ${AFTER_SUCCESS})
        AND NOT EXISTS (SELECT 1 FROM submission_work WHERE kind = 'submit_build' AND target = builds.id)
      LIMIT ${MISSED_PORTION}`);
}

/** Whether a submission of the project has not ended, as a condition of another statement. */
export const hasUnfinishedSubmissions = (projectId: string): SQL =>
  sql`EXISTS (SELECT 1 FROM submissions WHERE project_id = ${projectId} AND ${isNotEnded})`;

export const countUnfinishedSubmissions = (env: Env, projectId: string): Promise<number> =>
  openDatabase(env).$count(submissions, and(isUnfinished, eq(submissions.projectId, projectId)));

export type Unfinished = Pick<SubmissionRow, 'id' | 'endsBy' | 'warnings' | 'sentBytes'>;

/** Some unfinished submissions, the late ones first. Their objects answer whether they are alive. */
export const someUnfinished = (env: Env, now: number, limit: number): Promise<Unfinished[]> =>
  openDatabase(env)
    .select({
      ...{ id: submissions.id, endsBy: submissions.endsBy },
      ...{ warnings: submissions.warnings, sentBytes: submissions.sentBytes },
    })
    .from(submissions)
    .where(isUnfinished)
    // In random order, so that objects that throw do not hold up the others.
    .orderBy(sql`${submissions.endsBy} < ${now} DESC, random()`)
    .limit(limit);

/** Ends a submission whose object has not ended it. The object hears of it when it runs again. */
export const giveUp = (env: Env, unfinished: Unfinished, now: number) => {
  const storeWords = 'Its object did not end it in its time.';
  return writeChange(
    env,
    unfinished.id,
    { ...changeOf(unfinished, 'failed', null), reason: 'internal', storeWords },
    now,
  );
};
