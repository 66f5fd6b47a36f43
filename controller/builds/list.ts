/**
 * Lists builds, newest first, by filters. Reads only.
 *
 * Invariant: a list never sorts all that a filter selects. Filters on the origin or the group of a build need
 * its project, because their indices begin with it. `repository` and `trusted` look through the builds of the
 * project, newest first, until the page is full.
 */
import { and, desc, eq, isNotNull, type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { BuildStatus } from '#contract';
import { readableBy } from '../access/readable-builds.ts';
import type { Holder } from '../access/rights.ts';
import { openDatabase } from '../database.ts';
import { attempts, builds } from '../schema/index.ts';
import { ATTEMPT_COLUMNS } from './rows.ts';
import { readLive, SHOWN_COLUMNS, viewBuild } from './views.ts';

interface BuildFilter {
  status?: BuildStatus | undefined;
  pool?: string | undefined;
  trusted?: boolean | undefined;
  projectId?: string | undefined;
  /** The following need a project. */
  repository?: string | undefined;
  branch?: string | undefined;
  commit?: string | undefined;
  pullRequest?: number | undefined;
  group?: string | undefined;
  fingerprint?: string | undefined;
  /** The last build of the page before. Only older builds are shown. */
  cursor?: Cursor | undefined;
  limit: number;
}

export interface Cursor {
  createdAt: number;
  id: string;
}

/** The query parameter that asks for the next page. Its value is the `nextCursor` of the page before. */
export const CursorParam = z
  .string()
  .max(100)
  .transform((text, context): Cursor => {
    const [, createdAt, id] = /^([0-9]{1,15})\.(.+)$/.exec(text) ?? [];
    if (createdAt && id) return { createdAt: Number(createdAt), id };
    context.addIssue('must be the nextCursor of an earlier answer');
    return z.NEVER;
  })
  .optional();

/** The cursor at the end of a page of at most `limit` rows. Null if no other page follows. */
export function nextCursor(page: readonly Cursor[], limit: number): string | null {
  const last = page.at(-1);
  return last && page.length === limit ? `${last.createdAt}.${last.id}` : null;
}

/** A page of builds that the key may read. */
export async function viewBuildList(env: Env, key: Holder, filter: BuildFilter, withLive: boolean) {
  // With a project, an index finds the builds. Otherwise the query would look through all builds of the farm.
  const { projects } = key.rights;
  const projectId = filter.projectId ?? (projects !== '*' && projects.length === 1 ? projects[0] : undefined);
  const rows = await listStatement(env, key, { ...filter, projectId });
  const shown = await Promise.all(
    rows.map(async ({ build, attempt }) => ({
      ...viewBuild(build, attempt, key),
      ...(withLive ? { live: await readLive(env, build) } : {}),
    })),
  );
  const page = rows.map(({ build }) => build);
  return { builds: shown, nextCursor: nextCursor(page, filter.limit) };
}

/**
 * Sorts builds of the same moment. It is no bare column, because SQLite would prefer the one index that ends
 * in the id over the index of a narrower filter, and read all builds of the project.
 */
const BY_ID = sql`(${builds.id} || '') DESC`;

export const listStatement = (env: Pick<Env, 'DB'>, key: Holder, filter: BuildFilter) =>
  openDatabase(env)
    .select({ build: SHOWN_COLUMNS, attempt: ATTEMPT_COLUMNS })
    .from(builds)
    .leftJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(and(readableBy(key), ...asked(filter)))
    .orderBy(desc(builds.createdAt), BY_ID)
    .limit(filter.limit);

/** SQLite uses a partial index only if the query says IS NOT NULL, although the equation implies it. */
const asked = (filter: BuildFilter): (SQL | undefined)[] => [
  filter.status && eq(builds.status, filter.status),
  filter.pool !== undefined ? eq(builds.pool, filter.pool) : undefined,
  filter.trusted !== undefined ? eq(builds.trusted, filter.trusted) : undefined,
  filter.projectId !== undefined ? eq(builds.projectId, filter.projectId) : undefined,
  filter.repository !== undefined ? eq(builds.repository, filter.repository) : undefined,
  filter.branch !== undefined ? and(eq(builds.branch, filter.branch), isNotNull(builds.branch)) : undefined,
  filter.commit !== undefined ? and(eq(builds.commitSha, filter.commit), isNotNull(builds.commitSha)) : undefined,
  filter.pullRequest !== undefined
    ? and(eq(builds.pullRequest, filter.pullRequest), isNotNull(builds.pullRequest))
    : undefined,
  filter.group !== undefined ? and(eq(builds.groupName, filter.group), isNotNull(builds.groupName)) : undefined,
  filter.fingerprint !== undefined
    ? and(eq(builds.fingerprint, filter.fingerprint), isNotNull(builds.fingerprint))
    : undefined,
  filter.cursor && sql`(${builds.createdAt}, ${builds.id}) < (${filter.cursor.createdAt}, ${filter.cursor.id})`,
];
