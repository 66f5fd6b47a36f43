/**
 * Estimates when a queued build starts. It assumes that the active builds and those ahead of it take the
 * slots of the workers for as long as earlier builds of their projects took. Reads only.
 *
 * Invariant: the answer is null as soon as anything that matters is unknown. It is a whole minute, and tells
 * nothing of other projects.
 */
import { and, isNull, sql } from 'drizzle-orm';
import type { BuildRow } from '../builds/rows.ts';
import { openDatabase } from '../database.ts';
import { EXPECTED_MS } from '../phase-history/phase-history.ts';
import { attempts, builds } from '../schema/index.ts';
import type { Standing } from './able-workers.ts';
import type { Place } from './place.ts';
import { isMetBy, metBy, type Requirement } from './requirements.ts';

const MINUTE_MS = 60_000;
/** With more builds than this ahead, the answer is null. It bounds the rows that are read of each project. */
const AHEAD_MAX = 20;
/** The answer is also null while the workers that could take the build hold more attempts than this. */
const HELD_MAX = 100;

interface Slot {
  meets: Requirement[];
  /** Null: unknown. */
  freeAt: number | null;
}

interface Ahead {
  image: string | null;
  expectedMs: number | null;
  rank: number;
  queuedAt: number;
}

/** @param taking the workers that take builds of its pool and platform */
export async function expectStart(
  env: Env,
  row: BuildRow,
  place: Place,
  taking: readonly Standing[],
  now: number,
): Promise<number | null> {
  const { active, maxActive, own, others, shares } = place;
  if (own + others > AHEAD_MAX || (row.avoidWorkerId !== null && row.avoidUntil > now)) return null;
  // The limit of its project may hold the build back at its turn.
  if (maxActive !== null && active + own >= maxActive) return null;
  const db = openDatabase(env);
  const served = taking.flatMap(({ pools, platforms }) =>
    pools.flatMap((pool) => platforms.map((platform) => JSON.stringify([pool, platform]))),
  );
  const [held, heads, rivals] = await db.batch([
    db
      .select({ workerId: attempts.workerId, startedAt: attempts.startedAt, expectedMs: EXPECTED_MS })
      .from(attempts)
      .innerJoin(builds, sql`builds.id = ${attempts.buildId}`)
      .where(
        and(
          isNull(attempts.endedAt),
          sql`${attempts.workerId} IN (SELECT value FROM json_each(${JSON.stringify(taking.map(({ id }) => id))}))`,
        ),
      )
      .limit(HELD_MAX + 1),
    db
      .select({
        count: sql<number>`share.value ->> 'count'`,
        first: sql<Ahead[]>`(
          SELECT json_group_array(json_object(
            'image', image, 'expectedMs', expected_ms, 'rank', queue_rank, 'queuedAt', queued_at))
          FROM (SELECT image, queue_rank, queued_at, ${EXPECTED_MS} AS expected_ms
            FROM builds INDEXED BY builds_queue
            WHERE status = 'queued' AND pool = ${row.pool} AND platform = ${row.platform}
              AND project_id = share.value ->> 'projectId' AND trusted = share.value ->> 'trusted'
            ORDER BY queue_rank, queued_at LIMIT ${AHEAD_MAX}))`.mapWith((json: string): Ahead[] => JSON.parse(json)),
      })
      .from(sql`json_each(${JSON.stringify(shares)}) AS share`),
    // A worker may take a build that waits in another pool or platform first. Then the answer is null.
    db
      .select({ pool: sql<string>`load.pool` })
      .from(sql`json_each(${`[${[...new Set(served)]}]`}) AS place`)
      .innerJoin(
        sql`project_load AS load`,
        sql`load.pool = place.value ->> 0 AND load.platform = place.value ->> 1 AND load.queued > 0
          AND (load.pool, load.platform) != (${row.pool}, ${row.platform})`,
      )
      .limit(1),
  ]);
  if (held.length > HELD_MAX || rivals.length > 0) return null;
  const ahead = heads
    .flatMap(({ count, first }) => first.slice(0, count))
    .toSorted((one, other) => one.rank - other.rank || one.queuedAt - other.queuedAt);
  const slots = taking.flatMap((worker) => {
    const ends = held.filter(({ workerId }) => workerId === worker.id).map((attempt) => endOf(attempt, now));
    return slotsOf(worker, ends, now);
  });
  const startAt = startOf(row, ahead, slots, now);
  return startAt === null ? null : Math.ceil(startAt / MINUTE_MS) * MINUTE_MS;
}

/** Null if its project has no history, or if it takes longer than the project's builds usually do. */
function endOf({ startedAt, expectedMs }: { startedAt: number | null; expectedMs: number | null }, now: number) {
  const endAt = expectedMs === null ? 0 : (startedAt ?? now) + expectedMs;
  return endAt > now ? endAt : null;
}

function slotsOf(worker: Standing, ends: (number | null)[], now: number): Slot[] {
  const { slots, kept, keptUntil } = worker;
  const busy = [...ends, ...Array<number | null>(kept).fill(keptUntil)];
  const meets = metBy(worker);
  return Array.from({ length: slots }, (_, index) => {
    if (busy.length > slots) return { meets, freeAt: null };
    return { meets, freeAt: index < busy.length ? busy[index]! : now };
  });
}

/** Gives each build in turn the slot that is free first. */
function startOf(row: BuildRow, ahead: readonly Ahead[], slots: readonly Slot[], now: number): number | null {
  const firstFor = (image: string | null): Slot | 'none' | 'unknown' => {
    const able = slots.filter(({ meets }) => isMetBy(meets, { platform: row.platform, image }));
    if (able.length === 0) return 'none';
    const first = able.reduce((one, other) => ((other.freeAt ?? Infinity) < (one.freeAt ?? Infinity) ? other : one));
    // A slot with an unknown end may be free before the first of the others, unless that one is free now.
    const isKnown = first.freeAt === now || able.every(({ freeAt }) => freeAt !== null);
    return isKnown ? first : 'unknown';
  };
  for (const { image, expectedMs } of ahead) {
    const first = firstFor(image);
    // No worker here offers its image, so it takes none of these slots.
    if (first === 'none') continue;
    if (first === 'unknown') return null;
    first.freeAt = expectedMs === null ? null : first.freeAt! + expectedMs;
  }
  const first = firstFor(row.image);
  return first === 'none' || first === 'unknown' ? null : first.freeAt;
}
