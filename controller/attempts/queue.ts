/** Decides which queued builds a worker may take, and in which order. Reads only. */
import { and, asc, eq, inArray, isNull, lte, ne, or, type SQL, sql } from 'drizzle-orm';
import { isAble, readOnlineStandings } from '../builds/able-workers.ts';
import { BUILD_COLUMNS, type BuildRow } from '../builds/rows.ts';
import { openDatabase } from '../database.ts';
import { builds } from '../schema/index.ts';
import { iso } from '../times.ts';
import type { WorkerRow } from '../workers/registry.ts';
import { ARM_TTL_MS } from './build-deadline.ts';

/** One claim tries at most so many builds. Each lost race means that another worker won. */
const CANDIDATES_MAX = 5;

/** A reason looks at so many of the builds that wait. */
const LOOKED_AT_MAX = 20;

/**
 * Builds that `worker` may take, the next one first. A build that avoids this worker is left out if another
 * worker could take it at once. The other workers are read only if such a build is in front, because a worker
 * asks every few seconds.
 */
export async function candidates(env: Env, worker: WorkerRow, heardSince: number, now: number): Promise<BuildRow[]> {
  const found = await select(env, worker, worker.platforms, now);
  if (!found.some((build) => avoids(build, worker, now))) return found;
  const others = (await readOnlineStandings(env, worker.pool, heardSince)).filter(({ id }) => id !== worker.id);
  const alone = worker.platforms.filter((platform) => !others.some((other) => isAble(other, platform)));
  return select(env, worker, alone, now);
}

/** Builds that avoid this worker are left out, unless it is the only one for their platform. */
function select(env: Env, worker: WorkerRow, alone: WorkerRow['platforms'], now: number): Promise<BuildRow[]> {
  return openDatabase(env)
    .select(BUILD_COLUMNS)
    .from(builds)
    .where(
      and(
        eq(builds.status, 'queued'),
        eq(builds.pool, worker.pool),
        inArray(builds.platform, worker.platforms),
        lte(builds.notBefore, now),
        or(
          isNull(builds.avoidWorkerId),
          ne(builds.avoidWorkerId, worker.id),
          lte(builds.avoidUntil, now),
          inArray(builds.platform, alone),
        ),
      ),
    )
    .orderBy(asc(builds.queueRank), asc(builds.queuedAt))
    .limit(CANDIDATES_MAX);
}

type Avoiding = Pick<BuildRow, 'avoidWorkerId' | 'avoidUntil'>;
const avoids = ({ avoidWorkerId, avoidUntil }: Avoiding, worker: WorkerRow, now: number) =>
  avoidWorkerId === worker.id && avoidUntil > now;

/** Says why `worker` gets none of the builds that wait in its pool. Null if none waits. */
export async function whyNone(env: Env, worker: WorkerRow, now: number): Promise<string | null> {
  const { id, platform, notBefore, avoidWorkerId, avoidUntil } = builds;
  const waiting = await openDatabase(env)
    .select({ id, platform, notBefore, avoidWorkerId, avoidUntil })
    .from(builds)
    .where(and(eq(builds.status, 'queued'), eq(builds.pool, worker.pool)))
    .orderBy(asc(builds.queueRank), asc(builds.queuedAt))
    .limit(LOOKED_AT_MAX);
  if (waiting.length === 0) return null;
  const mine = waiting.filter((build) => worker.platforms.includes(build.platform));
  if (mine.length === 0)
    return (
      `the builds that wait in pool ${worker.pool} are for ${waiting[0]!.platform}, and this worker builds for ` +
      `${worker.platforms.join(' and ')}; \`platforms\` in its config says so`
    );
  const held = mine.find((build) => build.notBefore > now);
  if (held)
    return `build ${held.id} waits until ${iso(held.notBefore)}, because the VM of its lost attempt may still run`;
  const avoiding = mine.find((build) => avoids(build, worker, now));
  return avoiding
    ? `build ${avoiding.id} waits for another worker until ${iso(avoiding.avoidUntil)}, because its last attempt ended on this one`
    : null;
}

/**
 * A condition for the compare-and-set of a claim: the worker has a free slot, and the arm is fresh. D1's own
 * clock judges the arm, because BuildDeadline may forget an arm that is older.
 */
export const slotFree = (worker: WorkerRow, armedAt: number): SQL => sql`
  (SELECT count(*) FROM attempts WHERE worker_id = ${worker.id} AND ended_at IS NULL) < ${worker.slots}
  AND unixepoch('subsec') * 1000 < ${armedAt + ARM_TTL_MS}`;
