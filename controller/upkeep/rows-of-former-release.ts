/**
 * Fills the fields of builds that the former release added after a rollback and does not know: the project by
 * id, the first key of the lineage, and the rank in the queue.
 *
 * Invariant: a build without an id of a project belongs to the live project of its name, which is made if
 * there is none. A deleted project of that name gets nothing.
 *
 * Owns these columns of `builds` in such rows. It leaves with the former release.
 */
import { and, eq, lt, type SQL, sql } from 'drizzle-orm';
import { USUAL_PROJECT } from '#contract';
import { queueRank } from '../builds/queue-rank.ts';
import { openDatabase } from '../database.ts';
import { DEFAULT_PROJECT_ID } from '../projects/find-project.ts';
import { missingProjects } from '../projects/projects.ts';
import { builds } from '../schema/index.ts';

/** Builds that are found at once. */
const PORTION = 200;
/** The former release gave this rank to a build of any priority that came back. */
const RANK_OF_FORMER = -1_000;
/** The lowest rank of this release. */
const RANK_MIN = queueRank(100, true);

/** As {@link queueRank}, in SQL. */
const rankOf = (cameBack: SQL): SQL => sql`-2 * ${builds.priority} - (${cameBack})`;

/** Called by the sweep each minute. One statement if there is nothing to do. */
export async function findProjectsOfBuilds(env: Env, now: number): Promise<void> {
  const db = openDatabase(env);
  const found = await db
    .select({ id: builds.id, name: builds.project })
    .from(builds)
    .where(eq(builds.projectId, ''))
    .limit(PORTION);
  if (found.length === 0) return;
  const names = [...new Set(found.map(({ name }) => name || USUAL_PROJECT))];
  const ids = JSON.stringify(found.map(({ id }) => id));
  await db.batch([
    missingProjects(
      db,
      names.filter((name) => name !== USUAL_PROJECT),
      now,
    ),
    db
      .update(builds)
      .set({
        projectId: sql`CASE coalesce(nullif(${builds.project}, ''), ${USUAL_PROJECT})
          WHEN ${USUAL_PROJECT} THEN ${DEFAULT_PROJECT_ID}
          ELSE (SELECT id FROM projects WHERE name = ${builds.project} AND deleted_at IS NULL) END`,
        createdByRoot: sql`coalesce(
          (SELECT coalesce(root_id, id) FROM keys WHERE id = ${builds.createdByKey}), ${builds.createdByKey})`,
        queueRank: rankOf(sql`${builds.queueRank} = ${RANK_OF_FORMER}`),
      })
      .where(and(sql`${builds.id} IN (SELECT value FROM json_each(${ids}))`, eq(builds.projectId, ''))),
  ]);
}

/** Called once an hour: ranks builds of this release anew that the former one has put back into the queue. */
export async function rankBuildsThatCameBack(env: Env): Promise<void> {
  await openDatabase(env)
    .update(builds)
    .set({ queueRank: rankOf(sql`TRUE`) })
    .where(and(eq(builds.status, 'queued'), lt(builds.queueRank, RANK_MIN), sql`${builds.projectId} != ''`));
}
