/**
 * Makes projects for an admin, lists and changes them.
 *
 * Invariant: an id is never used again, so the remains of a deleted project cannot reach a new project of the
 * same name.
 *
 * Owns `projects` together with find-project.ts, which makes a project at its first use, and with
 * upkeep/project-deletion.ts.
 */
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { type Project, type ProjectPatch, type ProjectRequest, UNTRUSTED_QUEUED_USUAL } from '#contract';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { newId } from '../ids.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { projects } from '../schema/index.ts';
import { iso } from '../times.ts';
import {
  alikeName,
  DEFAULT_PROJECT_ID,
  findProject,
  isLive,
  nameTaken,
  noProject,
  type ProjectRow,
  refuseName,
} from './find-project.ts';

const LISTED_MAX = 1_000;

export const viewProject = ({ id, name, maxActive, maxQueuedUntrusted, image, createdAt }: ProjectRow): Project => ({
  ...{ id, name, maxActive, maxQueuedUntrusted, image },
  createdAt: iso(createdAt),
});

/** The projects of these ids that are not deleted, by name. */
export const listProjects = (env: Env, ids: '*' | readonly string[]): Promise<ProjectRow[]> =>
  openDatabase(env)
    .select()
    .from(projects)
    .where(and(isLive, ids === '*' ? undefined : inArray(projects.id, [...ids])))
    .orderBy(asc(projects.name))
    .limit(LISTED_MAX);

type Result = { ok: true; project: ProjectRow } | Refusal;

/** Refused: `invalid_request` for a name that is taken, differs only in case, or looks like an id. */
export async function createProject(
  env: Env,
  { name, maxActive, maxQueuedUntrusted, image }: ProjectRequest,
  by: string,
  now: number,
): Promise<Result> {
  const refused = refuseName(name);
  if (refused) return refused;
  const db = openDatabase(env);
  const limits = { maxActive: maxActive ?? null, ...(maxQueuedUntrusted !== undefined && { maxQueuedUntrusted }) };
  const row = { id: newId('prj', now), name, createdAt: now, createdBy: by, image: image ?? null, ...limits };
  const [made] = await insertIf(db, projects, row, sql`NOT ${alikeName(name)}`).returning();
  return made ? { ok: true, project: made } : ((await nameTaken(env, name)) ?? changedMeanwhile);
}

/** Refused: `not_found`; `invalid_request` for a name as above, and for a new name of the default project. */
export async function changeProject(env: Env, id: string, { name, ...others }: ProjectPatch): Promise<Result> {
  const refused = name === undefined ? null : refuseName(name);
  if (refused) return refused;
  if (name !== undefined && id === DEFAULT_PROJECT_ID)
    return refusal(
      'invalid_request',
      'name: the default project keeps its name, because builds without a project are its',
    );
  const free = name === undefined ? undefined : sql`(projects.name = ${name} OR NOT ${alikeName(name, id)})`;
  const [changed] = await openDatabase(env)
    .update(projects)
    .set({ ...(name !== undefined && { name }), ...others })
    .where(and(eq(projects.id, id), isLive, free))
    .returning();
  if (changed) return { ok: true, project: changed };
  if (name === undefined || !(await findProject(env, id))) return noProject(id);
  return (await nameTaken(env, name)) ?? changedMeanwhile;
}

const changedMeanwhile = refusal('unavailable', 'name: it became free during the request; send the request again');

/**
 * The statement that makes a project for each name that no live one has, for builds of the former release.
 */
export const missingProjects = (db: Database, names: readonly string[], now: number) => {
  const rows = JSON.stringify(names.map((name) => ({ id: newId('prj', now), name })));
  return db.insert(projects).select(sql`
    SELECT value ->> 'id', value ->> 'name', ${now}, NULL, NULL, ${UNTRUSTED_QUEUED_USUAL}, NULL, NULL
    FROM json_each(${rows})
    WHERE NOT EXISTS (SELECT 1 FROM projects WHERE projects.name = value ->> 'name' AND deleted_at IS NULL)`);
};
