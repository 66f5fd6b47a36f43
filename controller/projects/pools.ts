/**
 * Makes, lists and changes pools.
 *
 * Invariant: only an admin makes a pool, by registering a worker for it or by making a key that names it. A
 * pool that exists keeps its trust.
 *
 * Owns the table `pools`.
 */
import { asc, eq, sql } from 'drizzle-orm';
import { type Database, openDatabase } from '../database.ts';
import { pools } from '../schema/index.ts';

/** The end of the refusal of a pool that does not exist. */
export const POOLS_LISTED =
  'a pool exists once a worker is registered for it or a key names it. `GET /api/pools` lists the pools';

export type PoolRow = typeof pools.$inferSelect;

/** The statement that makes those of the pools that do not exist yet, for the batch that names them. */
export const ensurePools = (db: Database, names: readonly string[], now: number) =>
  db
    .insert(pools)
    .select(sql`SELECT value, 1, ${now} FROM json_each(${JSON.stringify(names)}) WHERE TRUE`)
    .onConflictDoNothing();

/** All pools, by name. */
export const listPools = (env: Env): Promise<PoolRow[]> =>
  openDatabase(env).select().from(pools).orderBy(asc(pools.name));

/** The pool as changed. Undefined if there is none of this name. */
export const changePool = (env: Env, name: string, change: { trusted: boolean }): Promise<PoolRow | undefined> =>
  openDatabase(env).update(pools).set(change).where(eq(pools.name, name)).returning().get();
