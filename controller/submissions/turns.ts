/**
 * Says which submission of an app goes first. A store may take only one at a time: in Google Play a new edit
 * of an app ends the others. Reads only.
 *
 * Invariant: of all submissions of an app that have not ended, one is first. So they never all wait for each
 * other.
 */
import { and, asc, eq, sql } from 'drizzle-orm';
import type { Store } from '#contract';
import { openDatabase } from '../database.ts';
import { submissions } from '../schema/index.ts';
import { isNotEnded } from './changes.ts';

/** The first one, of any project: the one that has come furthest, then the oldest. Null if there is none. */
export async function findFirst(
  env: Env,
  store: Store,
  appId: string,
): Promise<{ id: string; projectId: string } | null> {
  const { state, createdAt, id, projectId } = submissions;
  const found = await openDatabase(env)
    .select({ id, projectId })
    .from(submissions)
    .where(and(isNotEnded, eq(submissions.store, store), eq(submissions.appId, appId)))
    .orderBy(sql`${state} = 'waiting'`, sql`${state} = 'uploading'`, asc(createdAt), asc(id))
    .limit(1)
    .get();
  return found ?? null;
}
