/**
 * Remembers how long the phases of a project's builds took, for the estimate of the next build.
 *
 * Invariant: no build waits or fails because of it. If two builds end at the same moment, the share of one
 * may get lost.
 *
 * Owns the table `histories`.
 */
import { and, eq, lt, type SQL, sql } from 'drizzle-orm';
import { DAY_MS, type ProgressHistory } from '#contract';
import type { BuildRow } from '../builds/rows.ts';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { isLiveProject } from '../projects/conditions.ts';
import { DEFAULT_PROJECT_ID } from '../projects/find-project.ts';
import { histories } from '../schema/index.ts';
import { mergeHistory } from './merge.ts';

/** After half a year without a build the project has changed so much that its history says nothing. */
const KEPT_MS = 180 * DAY_MS;

/** Null for a build without a project, and for the first build of a project. */
export async function readHistory(env: Env, build: BuildRow): Promise<ProgressHistory | null> {
  const here = keyOf(build);
  if (!here) return null;
  const [row] = await openDatabase(env).select({ history: histories.history }).from(histories).where(is(here));
  return row?.history ?? null;
}

/** In SQL, how long the command of a row of `builds` is expected to run. Null if nothing is known. */
export const EXPECTED_MS: SQL<number | null> = sql`(
  SELECT sum(phase.value ->> 'durationMs') FROM histories, json_each(histories.history, '$.phases') AS phase
  WHERE histories.project = builds.project_id AND histories.platform = builds.platform
    AND histories.profile = coalesce(builds.profile, '') AND builds.project_id NOT IN ('', ${DEFAULT_PROJECT_ID}))`;

/** Never throws, because the result of the build has been accepted already. */
export async function addToHistory(env: Env, build: BuildRow, newest: ProgressHistory, now: number): Promise<void> {
  const here = keyOf(build);
  if (!here || newest.phases.length === 0) return;
  try {
    const history = mergeHistory(await readHistory(env, build), newest);
    const db = openDatabase(env);
    await db.batch([
      insertIf(db, histories, { ...here, history, updatedAt: now }, isLiveProject(here.projectId)).onConflictDoUpdate({
        target: [histories.projectId, histories.platform, histories.profile],
        set: { history, updatedAt: now },
      }),
      db.delete(histories).where(lt(histories.updatedAt, now - KEPT_MS)),
    ]);
  } catch (error) {
    console.error(JSON.stringify({ event: 'history_not_kept', build: build.id, error: String(error) }));
  }
}

/**
 * The statement that removes what is known of a project, in the batch of another owner, if `condition` holds.
 */
export const withoutHistories = (db: Database, projectId: string, condition: SQL) =>
  db.delete(histories).where(and(eq(histories.projectId, projectId), condition));

type Key = Pick<typeof histories.$inferSelect, 'projectId' | 'platform' | 'profile'>;

/** The builds of the default project have nothing in common. */
const keyOf = ({ projectId, platform, profile }: BuildRow): Key | null =>
  projectId === DEFAULT_PROJECT_ID || projectId === '' ? null : { projectId, platform, profile: profile ?? '' };

const is = ({ projectId, platform, profile }: Key) =>
  and(eq(histories.projectId, projectId), eq(histories.platform, platform), eq(histories.profile, profile));
