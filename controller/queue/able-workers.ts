/**
 * Reads what keeps a worker from taking a build: its pools, its pause, its full slots, its quarantine, or the
 * words of its agent. Reads only.
 */
import { and, gt, isNull, type SQL, sql } from 'drizzle-orm';
import type { ImageOffer } from '#contract';
import { openDatabase } from '../database.ts';
import { workers } from '../schema/index.ts';
import { QUARANTINED } from './quarantine.ts';
import { isMetBy, metBy, type Requirement } from './requirements.ts';

export interface Standing {
  id: string;
  name: string;
  /** The pools that it serves, the one that it prefers first. */
  pools: string[];
  platforms: Requirement['platform'][];
  images: ImageOffer[];
  paused: 'pause' | 'drain' | null;
  slots: number;
  /** How many attempts it holds. */
  held: number;
  /** How many VMs of ended attempts it keeps for a look, each in a slot, and until when. */
  kept: number;
  keptUntil: number | null;
  quarantined: boolean;
  /** Why its agent claims nothing, in its own words. */
  notReady: string | null;
}

/**
 * The pools of a row of `workers`. The former release knows `workers.pool` alone. So the rows of
 * `worker_pools` count only while the first of them is that pool.
 */
export const POOLS_OF_WORKER = sql<string[]>`(
  SELECT CASE WHEN coalesce(max(pool) FILTER (WHERE rank = 0), '') = workers.pool
    THEN json_group_array(pool ORDER BY rank) ELSE json_array(workers.pool) END
  FROM worker_pools WHERE worker_id = workers.id)`.mapWith((json: string): string[] => JSON.parse(json));

/** Whether a row of `workers` serves one of `pools`. */
export const servesOneOf = (pools: readonly string[]): SQL => {
  const these = sql`(SELECT value FROM json_each(${JSON.stringify(pools)}))`;
  return sql`(workers.pool IN ${these} OR EXISTS (
    SELECT 1 FROM worker_pools AS first JOIN worker_pools AS other USING (worker_id)
    WHERE worker_id = workers.id AND first.rank = 0 AND first.pool = workers.pool AND other.pool IN ${these}))`;
};

/** The standing of each worker that `which` selects. One statement, which reads some rows for each worker. */
export function readStandings(env: Env, which: SQL | undefined, now: number): Promise<Standing[]> {
  const ofKept = (what: string) =>
    sql`(SELECT ${sql.raw(what)} FROM attempts WHERE worker_id = workers.id AND kept_until > ${now} AND ended_at IS NOT NULL)`;
  return openDatabase(env)
    .select({
      id: workers.id,
      name: workers.name,
      pools: POOLS_OF_WORKER,
      platforms: workers.platforms,
      images: workers.images,
      paused: workers.paused,
      slots: workers.slots,
      held: sql<number>`(SELECT count(*) FROM attempts WHERE worker_id = workers.id AND ended_at IS NULL)`,
      kept: ofKept('count(*)').mapWith(Number),
      keptUntil: sql<number | null>`${ofKept('max(kept_until)')}`,
      quarantined: QUARANTINED.mapWith(Boolean),
      notReady: workers.notReady,
    })
    .from(workers)
    .where(which);
}

/** The standings of the workers that serve one of `pools` and were heard since `heardSince`. */
export const readOnlineStandings = (
  env: Env,
  pools: readonly string[],
  heardSince: number,
  now: number,
): Promise<Standing[]> =>
  readStandings(env, and(servesOneOf(pools), isNull(workers.removedAt), gt(workers.lastSeen, heardSince)), now);

export const hasFreeSlot = ({ held, kept, slots }: Standing): boolean => held + kept < slots;

/** Whether any worker serves the pool, online or not. */
export const isServed = async (env: Env, pool: string): Promise<boolean> =>
  (await openDatabase(env)
    .select({ id: workers.id })
    .from(workers)
    .where(and(servesOneOf([pool]), isNull(workers.removedAt)))
    .limit(1)
    .get()) !== undefined;

/** Whether the worker could take a build of `pool` that requires this at once. */
export const isAble = (standing: Standing, pool: string, requirement: Requirement): boolean => {
  const { pools, paused, quarantined, notReady } = standing;
  const isFree = !paused && !quarantined && notReady === null && hasFreeSlot(standing);
  return isFree && pools.includes(pool) && isMetBy(metBy(standing), requirement);
};
