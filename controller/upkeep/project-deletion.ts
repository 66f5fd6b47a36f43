/**
 * Deletes a project: marks it first, and in the same batch takes it from every key and removes its secrets,
 * its store keys, its counters of build numbers, its phase histories and its links. Retention then removes
 * its builds, with all that hangs on them, in portions.
 *
 * Invariant: from the mark on, nothing is added to the project, because every insertion that names a project
 * looks for the mark in its own batch. So if a submission and the deletion meet, the later of the two is
 * refused.
 *
 * Owns `projects.deleted_at`.
 */
import { and, eq, inArray, isNull, type SQL, sql } from 'drizzle-orm';
import { withoutProject } from '../access/keys.ts';
import { UNFINISHED_STATUSES } from '../builds/transitions.ts';
import { type Database, openDatabase } from '../database.ts';
import { withoutLinks } from '../install-links/links.ts';
import { withoutHistories } from '../phase-history/phase-history.ts';
import { withoutCounters } from '../projects/build-numbers.ts';
import { isDeletedProject } from '../projects/conditions.ts';
import { DEFAULT_PROJECT_ID, noProject, type ProjectRow } from '../projects/find-project.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { builds, projects } from '../schema/index.ts';
import { withoutSecrets } from '../secrets/stored-secrets.ts';
import { withoutStoreKeys } from '../stores/store-keys.ts';
import { countUnfinishedSubmissions, hasUnfinishedSubmissions } from '../submissions/many.ts';

/**
 * Refused: `project_in_use` while builds or submissions are unfinished, `invalid_request` for the default
 * project.
 */
export async function deleteProject(env: Env, project: ProjectRow, now: number): Promise<{ ok: true } | Refusal> {
  const { id, name } = project;
  if (id === DEFAULT_PROJECT_ID)
    return refusal(
      'invalid_request',
      'the default project cannot be deleted, because builds that name no project belong to it',
    );
  const db = openDatabase(env);
  const [marked] = await db.batch([
    deletionMark(db, project, now),
    withoutProject(db, id, isDeletedProject(id)),
    withoutSecrets(db, id, isDeletedProject(id)),
    withoutStoreKeys(db, id, isDeletedProject(id)),
    withoutCounters(db, id, isDeletedProject(id)),
    withoutHistories(db, id, isDeletedProject(id)),
    withoutLinks(db, id, isDeletedProject(id)),
  ]);
  if (marked.length > 0) return { ok: true };
  const { queued, active } = await countUnfinished(env, project);
  if (queued + active === 0) {
    const submissions = await countUnfinishedSubmissions(env, id);
    if (submissions === 0) return noProject(name);
    return refusal(
      'project_in_use',
      `${submissions} submissions of project ${name} to a store have not ended. Cancel each of them ` +
        `(\`POST /api/submissions/ID/cancel\`; \`GET /api/projects/${name}/submissions\` lists them), or wait for ` +
        'their end. Then delete the project again.',
    );
  }
  return refusal(
    'project_in_use',
    `${queued + active} builds of project ${name} have not ended: ${queued} wait, ${active} run. Cancel each of ` +
      `them (\`POST /api/builds/ID/cancel\`; \`GET /api/builds?project=${name}&status=queued\`, then \`assigned\` and ` +
      '`building`, lists them), or wait for their end. Then delete the project again.',
  );
}

/** The builds of the project that have not ended, also those that the former release added by name. */
const unfinishedOf = ({ id, name }: ProjectRow): SQL =>
  and(
    inArray(builds.status, [...UNFINISHED_STATUSES]),
    sql`(${builds.projectId} = ${id} OR (${builds.projectId} = '' AND ${builds.project} = ${name}))`,
  )!;

/** The statement that marks the project as deleted, unless a build or a submission of it is unfinished. */
const deletionMark = (db: Database, project: ProjectRow, now: number) =>
  db
    .update(projects)
    .set({ deletedAt: now })
    .where(
      and(
        eq(projects.id, project.id),
        isNull(projects.deletedAt),
        sql`NOT EXISTS (SELECT 1 FROM builds WHERE ${unfinishedOf(project)})`,
        sql`NOT ${hasUnfinishedSubmissions(project.id)}`,
      ),
    )
    .returning({ id: projects.id });

/** How many builds of the project wait, and how many are active. */
async function countUnfinished(env: Env, project: ProjectRow): Promise<{ queued: number; active: number }> {
  const rows = await openDatabase(env)
    .select({ status: builds.status, count: sql<number>`count(*)` })
    .from(builds)
    .where(unfinishedOf(project))
    .groupBy(builds.status);
  const count = (isCounted: (status: string) => boolean) =>
    rows.filter(({ status }) => isCounted(status)).reduce((sum, { count: one }) => sum + one, 0);
  return { queued: count((status) => status === 'queued'), active: count((status) => status !== 'queued') };
}
