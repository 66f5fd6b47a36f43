/** Decides which queued builds a worker may take, and in which order. Reads only. */
import { and, asc, eq, inArray, lte, ne, or, type SQL, sql } from 'drizzle-orm';
import { BUILD_COLUMNS, type BuildRow } from '../builds/rows.ts';
import { openDatabase } from '../database.ts';
import { builds } from '../schema.ts';
import type { WorkerRow } from '../workers/registry.ts';
import { ARM_TTL_MS } from './build-deadline.ts';

/** One claim tries at most so many builds. Each lost race means that another worker won. */
const CANDIDATES_MAX = 5;

/**
 * Builds that `worker` may take, the next one first. With an `alternative`, builds that avoid this worker are
 * left out.
 */
export function candidates(env: Env, worker: WorkerRow, alternative: boolean, now: number): Promise<BuildRow[]> {
  const notAvoided = or(
    sql`${builds.avoidWorkerId} IS NULL`,
    ne(builds.avoidWorkerId, worker.id),
    lte(builds.avoidUntil, now),
  );
  return openDatabase(env)
    .select(BUILD_COLUMNS)
    .from(builds)
    .where(
      and(
        eq(builds.status, 'queued'),
        eq(builds.pool, worker.pool),
        inArray(builds.platform, worker.platforms),
        lte(builds.notBefore, now),
        alternative ? notAvoided : undefined,
      ),
    )
    .orderBy(asc(builds.queueRank), asc(builds.queuedAt))
    .limit(CANDIDATES_MAX);
}

/**
 * A condition for the compare-and-set of a claim: the worker has a free slot, and the arm is fresh. D1's own
 * clock judges the arm, because BuildDeadline may forget an arm that is older.
 */
export const slotFree = (worker: WorkerRow, armedAt: number): SQL => sql`
  (SELECT count(*) FROM attempts WHERE worker_id = ${worker.id} AND ended_at IS NULL) < ${worker.slots}
  AND unixepoch('subsec') * 1000 < ${armedAt + ARM_TTL_MS}`;
