/**
 * Reads what keeps a worker from taking a build: its pause, its full slots, its quarantine, or what its agent
 * says. Reads only.
 */
import { and, eq, gt, isNull, type SQL, sql } from 'drizzle-orm';
import type { PLATFORMS } from '#contract';
import { openDatabase } from '../database.ts';
import { workers } from '../schema/index.ts';
import { QUARANTINED } from './quarantine.ts';

type Platform = (typeof PLATFORMS)[number];

export interface Standing {
  id: string;
  name: string;
  platforms: Platform[];
  paused: 'pause' | 'drain' | null;
  slots: number;
  /** How many attempts it holds. */
  held: number;
  quarantined: boolean;
  /** Why its agent claims nothing, in its own words. */
  notReady: string | null;
}

/** How each worker stands that `which` selects. One statement, which reads some rows for each worker. */
export const readStandings = (env: Env, which: SQL | undefined): Promise<Standing[]> =>
  openDatabase(env)
    .select({
      id: workers.id,
      name: workers.name,
      platforms: workers.platforms,
      paused: workers.paused,
      slots: workers.slots,
      held: sql<number>`(SELECT count(*) FROM attempts WHERE worker_id = workers.id AND ended_at IS NULL)`,
      quarantined: QUARANTINED.mapWith(Boolean),
      notReady: workers.notReady,
    })
    .from(workers)
    .where(which);

/** How the workers of `pool` stand that were heard since `heardSince`. */
export const readOnlineStandings = (env: Env, pool: string, heardSince: number): Promise<Standing[]> =>
  readStandings(env, and(eq(workers.pool, pool), isNull(workers.removedAt), gt(workers.lastSeen, heardSince)));

/** Whether the worker could take a build for `platform` at once. */
export const isAble = (
  { platforms, paused, quarantined, notReady, held, slots }: Standing,
  platform: Platform,
): boolean => platforms.includes(platform) && !paused && !quarantined && notReady === null && held < slots;
