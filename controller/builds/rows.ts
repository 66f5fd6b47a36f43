/** Reads rows of `builds` and `attempts` for the use-cases. */
import { and, desc, eq, isNotNull, isNull } from 'drizzle-orm';
import { openDatabase } from '../database.ts';
import { attempts, builds } from '../schema.ts';
import { isActive } from './transitions.ts';

export type BuildRow = typeof builds.$inferSelect;
export type AttemptRow = typeof attempts.$inferSelect;

export const findBuild = (env: Env, buildId: string): Promise<BuildRow | undefined> =>
  openDatabase(env).query.builds.findFirst({ where: eq(builds.id, buildId) });

export const findAttempt = (env: Env, buildId: string, attempt: number): Promise<AttemptRow | undefined> =>
  openDatabase(env).query.attempts.findFirst({
    where: and(eq(attempts.buildId, buildId), eq(attempts.attempt, attempt)),
  });

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
    .select({ build: builds, attempt: attempts })
    .from(attempts)
    .innerJoin(builds, eq(builds.id, attempts.buildId))
    .where(and(eq(attempts.workerId, workerId), isNull(attempts.endedAt)));
  return rows.filter(({ build, attempt }) => isActive(build.status) && build.attempt === attempt.attempt);
}

/** The last attempts of the worker `workerId` that succeeded, newest first. */
export async function lastSucceeded(env: Env, workerId: string, limit: number) {
  return openDatabase(env)
    .select({ build: builds, attempt: attempts })
    .from(attempts)
    .innerJoin(builds, and(eq(builds.id, attempts.buildId), eq(builds.attempt, attempts.attempt)))
    .where(and(eq(attempts.workerId, workerId), eq(builds.status, 'succeeded'), isNotNull(attempts.endedAt)))
    .orderBy(desc(attempts.endedAt))
    .limit(limit);
}
