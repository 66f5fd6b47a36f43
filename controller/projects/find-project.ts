/**
 * Finds projects by name or id, and makes one at its first use.
 *
 * Invariant: a name becomes an id here, once for each request. All other code uses the id.
 *
 * Owns the insertion of rows of `projects` at their first use. projects.ts owns all else of the table.
 */
import { and, eq, isNull, or, type SQL, sql } from 'drizzle-orm';
import { DAY_MS } from '#contract';
import { insertIf, openDatabase } from '../database.ts';
import { newId } from '../ids.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { projects } from '../schema/index.ts';

export type ProjectRow = typeof projects.$inferSelect;

/** Builds that name no project belong to it. It takes no stored secrets, and cannot be deleted. */
export const DEFAULT_PROJECT_ID = 'prj_default';

/** How many projects the keys of a lineage may make at first use within a day. An admin may make more. */
export const MADE_A_DAY_MAX = 20;

const PREFIX = 'prj_';

export const isLive: SQL = isNull(projects.deletedAt);

/** The project of this id or name that is not deleted. */
export const findProject = (env: Env, idOrName: string): Promise<ProjectRow | undefined> =>
  openDatabase(env)
    .select()
    .from(projects)
    .where(and(or(eq(projects.id, idOrName), eq(projects.name, idOrName)), isLive))
    // The former release accepted names that look like an id. The project with the id wins.
    .orderBy(sql`${projects.id} = ${idOrName} DESC`)
    .get();

/** The projects of these ids and names that are not deleted. */
export function findProjects(env: Env, idsOrNames: readonly string[]): Promise<ProjectRow[]> {
  const named = sql`(SELECT value FROM json_each(${JSON.stringify(idsOrNames)}))`;
  return openDatabase(env)
    .select()
    .from(projects)
    .where(and(sql`(${projects.id} IN ${named} OR ${projects.name} IN ${named})`, isLive));
}

export const noProject = (idOrName: string): Refusal => refusal('not_found', `there is no project ${idOrName}`);

/** `invalid_request` for a name that looks like an id. */
export const refuseName = (name: string): Refusal | null =>
  name.startsWith(PREFIX)
    ? refusal('invalid_request', `project name: it must not begin with ${PREFIX}, as ids do`)
    : null;

/** Whether a project other than `but` has this name, or one that differs only in case. */
export const alikeName = (name: string, but = ''): SQL => sql`EXISTS (
  SELECT 1 FROM projects WHERE lower(name) = lower(${name}) AND deleted_at IS NULL AND id != ${but})`;

/**
 * `invalid_request` that names the project of this name, or of one that differs only in case. Null if there
 * is none.
 */
export async function nameTaken(env: Env, name: string): Promise<Refusal | null> {
  const other = await openDatabase(env)
    .select({ name: projects.name })
    .from(projects)
    .where(and(sql`lower(${projects.name}) = lower(${name})`, isLive))
    .get();
  if (!other) return null;
  const difference = other.name === name ? '' : `, which differs from ${name} only in case`;
  return refusal('invalid_request', `project name: there is ${other.name} already${difference}`);
}

/**
 * Makes a project, or answers the one of this name. Refused: `invalid_request` for a name that differs from
 * another one only in case, or looks like an id; `too_many`.
 *
 * @param by the first key of the lineage that asks
 * @param dayMax how many projects that lineage may make within a day
 */
export async function makeProject(
  env: Env,
  name: string,
  by: string,
  dayMax: number,
  now: number,
): Promise<{ ok: true; project: ProjectRow } | Refusal> {
  const refused = refuseName(name);
  if (refused) return refused;
  const db = openDatabase(env);
  const row = { id: newId('prj', now), name, createdAt: now, createdBy: by };
  const today = sql`(SELECT count(*) FROM projects WHERE created_by = ${by} AND created_at > ${now - DAY_MS})`;
  await db.batch([insertIf(db, projects, row, sql`NOT ${alikeName(name)} AND ${today} < ${dayMax}`)]);
  const project = await findProject(env, name);
  if (project) return { ok: true, project };
  const tooMany = `project: this key has made ${dayMax} projects within a day; ask an admin to make ${name}`;
  return (await nameTaken(env, name)) ?? refusal('too_many', tooMany);
}
