/**
 * Does the work on submissions that changes left in `submission_work`: right after the change if all is well,
 * else by the sweep.
 *
 * Invariant: every kind of work may be repeated, and its row is deleted only when the work is done. A kind
 * that this release does not know stays for the release that has left it.
 *
 * Owns the end of rows of `submission_work`.
 */
import { sql } from 'drizzle-orm';
import { openDatabase } from '../database.ts';
import { submissionWork } from '../schema/index.ts';
import { idAfterSuccess } from '../submissions/create.ts';
import { isOneOf, tryOf } from './tries.ts';

type Work = typeof submissionWork.$inferSelect;

/** The most work that is done at once. */
const PORTION = 20;

/** Each has an object of its own, whose invocation asks D1. True when nothing is left to do. */
const DO: Record<Work['kind'], (env: Env, target: string) => Promise<boolean>> = {
  submit_build: (env, buildId) => env.STORE_UPLOADS.getByName(idAfterSuccess(buildId)).submitBuild(buildId),
  cancel_submission: async (env, id) => {
    const cancelled = await env.STORE_UPLOADS.getByName(id).cancel('The key that asked for it was revoked.', true);
    return cancelled !== 'too_late';
  },
  forget_submission: (env, id) => env.STORE_UPLOADS.getByName(id).forget(),
};

/** Does a portion of the work that is due, of one build or of all, with two statements. */
export async function drainSubmissionWork(env: Env, now: number, buildId?: string): Promise<void> {
  const db = openDatabase(env);
  const ofBuild = buildId === undefined ? sql`TRUE` : sql`target = ${buildId}`;
  const works = await db
    .update(submissionWork)
    .set(tryOf(submissionWork.tries, now))
    .where(
      sql`${submissionWork.id} IN (SELECT id FROM submission_work WHERE due_at <= ${now} AND ${ofBuild}
        ORDER BY due_at LIMIT ${PORTION})`,
    )
    .returning();
  const done: number[] = [];
  await Promise.all(
    works.map(async (work) => {
      const { kind, target } = work;
      try {
        if (await (DO as Partial<typeof DO>)[kind]?.(env, target)) done.push(work.id);
      } catch (error) {
        console.error(JSON.stringify({ event: 'submission_work_failed', kind, target, error: String(error) }));
      }
    }),
  );
  if (done.length > 0) await db.delete(submissionWork).where(isOneOf(submissionWork.id, done));
}
