/**
 * Ends and removes many submissions by few statements, however many they are: those whose key was revoked,
 * and those of a deleted project.
 *
 * Adds rows to `submission_work`, by which the objects hear of it.
 */
import { and, eq, inArray, type SQL, sql } from 'drizzle-orm';
import { type Database, openDatabase } from '../database.ts';
import { submissions, submissionWork } from '../schema/index.ts';
import { isUnfinished, UNFINISHED_STATES } from './changes.ts';

const notEnded = sql.raw(`state IN (${UNFINISHED_STATES.map((state) => `'${state}'`).join(', ')})`);

/**
 * Leaves for later the cancellation of the unfinished submissions of these keys. Answers their ids. An
 * object alone can cancel one, because it knows what the store has.
 */
export async function cancelSubmissionsOf(env: Env, keyIds: readonly string[], now: number): Promise<string[]> {
  const db = openDatabase(env);
  const ofKeys = sql`created_by_key IN (SELECT value FROM json_each(${JSON.stringify(keyIds)}))`;
  const [found] = await db.batch([
    db.select({ id: submissions.id }).from(submissions).where(and(isUnfinished, ofKeys)),
    db.insert(submissionWork).select(sql`
      SELECT NULL, 'cancel_submission', id, ${now}, 0 FROM submissions WHERE ${notEnded} AND ${ofKeys}
        AND NOT EXISTS (SELECT 1 FROM submission_work WHERE kind = 'cancel_submission' AND target = submissions.id)`),
  ]);
  return found.map(({ id }) => id);
}

/**
 * The statements that remove the submissions of a project, in the batch of another owner, if `condition`
 * holds.
 */
export const withoutSubmissions = (db: Database, projectId: string, condition: SQL, now: number) =>
  [
    db.insert(submissionWork).select(sql`
      SELECT NULL, 'forget_submission', id, ${now}, 0
      FROM submissions WHERE project_id = ${projectId} AND ${condition}`),
    db.delete(submissions).where(and(eq(submissions.projectId, projectId), condition)),
  ] as const;

/** Some that have not ended, those first that are late. The objects answer whether they are alive. */
export const someUnfinished = (env: Env, now: number, limit: number): Promise<{ id: string }[]> =>
  openDatabase(env)
    .select({ id: submissions.id })
    .from(submissions)
    .where(inArray(submissions.state, [...UNFINISHED_STATES]))
    // Chance, so that objects that throw are not the only ones to be asked.
    .orderBy(sql`${submissions.endsBy} < ${now} DESC, random()`)
    .limit(limit);
