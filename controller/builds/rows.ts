/**
 * Reads rows of `builds` and `attempts` for the use-cases.
 *
 * Invariant: these rows are small. They leave out private inputs (secrets/read-inputs.ts) and evidence, even
 * where rows of the former release still hold them.
 */
import { and, desc, eq, getTableColumns, isNotNull, isNull, sql } from 'drizzle-orm';
import type { Origin, OriginDetail, SubmitOptions } from '#contract';
import { isOfLiveProject } from '../access/readable-builds.ts';
import { openDatabase } from '../database.ts';
import { attempts, buildOrigins, buildSubmits, builds } from '../schema/index.ts';
import { isActive } from './transitions.ts';

const { inputs: _inputs, ...buildColumns } = getTableColumns(builds);
const { evidence: _evidence, ...attemptColumns } = getTableColumns(attempts);

/** The columns that everything reads. `project` is the present name of its project. */
export const BUILD_COLUMNS = {
  ...buildColumns,
  project: sql<string>`coalesce((SELECT name FROM projects WHERE projects.id = builds.project_id), builds.project, '')`,
};
export const ATTEMPT_COLUMNS = attemptColumns;

export type BuildRow = Omit<typeof builds.$inferSelect, 'inputs' | 'project'> & { project: string };
export type AttemptRow = Omit<typeof attempts.$inferSelect, 'evidence'>;

export const findBuild = (env: Env, buildId: string): Promise<BuildRow | undefined> =>
  openDatabase(env).select(BUILD_COLUMNS).from(builds).where(eq(builds.id, buildId)).get();

/** The build, if its project is not deleted. Callers learn only of such builds. */
export const findLiveBuild = (env: Env, buildId: string): Promise<BuildRow | undefined> =>
  openDatabase(env)
    .select(BUILD_COLUMNS)
    .from(builds)
    .where(and(eq(builds.id, buildId), isOfLiveProject))
    .get();

export const findAttempt = (env: Env, buildId: string, attempt: number): Promise<AttemptRow | undefined> =>
  openDatabase(env)
    .select(ATTEMPT_COLUMNS)
    .from(attempts)
    .where(and(eq(attempts.buildId, buildId), eq(attempts.attempt, attempt)))
    .get();

/** The current attempt of a build, in short. Null if the build does not exist or has no attempt yet. */
export async function readActive(env: Env, buildId: string) {
  const [row] = await openDatabase(env)
    .select({
      status: builds.status,
      attempt: builds.attempt,
      timeouts: builds.timeouts,
      claimedAt: attempts.claimedAt,
    })
    .from(builds)
    .innerJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(eq(builds.id, buildId));
  return row ? { ...row, running: isActive(row.status) } : null;
}

/** The attempts that the worker `workerId` holds now. */
export async function activeAttempts(env: Env, workerId: string): Promise<{ build: BuildRow; attempt: AttemptRow }[]> {
  const rows = await openDatabase(env)
    .select({ build: BUILD_COLUMNS, attempt: ATTEMPT_COLUMNS })
    .from(attempts)
    .innerJoin(builds, eq(builds.id, attempts.buildId))
    .where(and(eq(attempts.workerId, workerId), isNull(attempts.endedAt)));
  return rows.filter(({ build, attempt }) => isActive(build.status) && build.attempt === attempt.attempt);
}

/** The last attempts of the worker `workerId` that succeeded, newest first. */
export async function lastSucceeded(env: Env, workerId: string, limit: number) {
  return openDatabase(env)
    .select({ build: BUILD_COLUMNS, attempt: ATTEMPT_COLUMNS })
    .from(attempts)
    .innerJoin(builds, and(eq(builds.id, attempts.buildId), eq(builds.attempt, attempts.attempt)))
    .where(and(eq(attempts.workerId, workerId), eq(builds.status, 'succeeded'), isNotNull(attempts.endedAt)))
    .orderBy(desc(attempts.endedAt))
    .limit(limit);
}

/** The options of the submission that the build asks for. Null if it asks for none. */
export async function findSubmit(env: Env, buildId: string): Promise<SubmitOptions | null> {
  const row = await openDatabase(env).select().from(buildSubmits).where(eq(buildSubmits.buildId, buildId)).get();
  return row?.options ?? null;
}

/** The half of an origin that filters ask for. `build_origins` has the rest. */
type OriginColumns = Pick<BuildRow, 'repository' | 'branch' | 'commitSha' | 'pullRequest'>;

/** Where the source of a build comes from. Null if nothing is known. Pure. */
export function originOf(
  { repository, branch, commitSha, pullRequest }: OriginColumns,
  detail: OriginDetail | null,
): Origin | null {
  const origin: Origin = {
    ...(repository !== null && { repository }),
    ...(branch !== null && { branch }),
    ...(commitSha !== null && { commit: commitSha }),
    ...(pullRequest !== null && { pullRequest }),
    ...detail,
  };
  return Object.keys(origin).length > 0 ? origin : null;
}

export async function findOrigin(env: Env, build: BuildRow): Promise<Origin | null> {
  const row = await openDatabase(env)
    .select({ origin: buildOrigins.origin })
    .from(buildOrigins)
    .where(eq(buildOrigins.buildId, build.id))
    .get();
  return originOf(build, row?.origin ?? null);
}
