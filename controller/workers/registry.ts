/**
 * Registers, finds, pauses and removes workers.
 *
 * Owns the table `workers` together with presence.ts, and `worker_pools`. The state of a worker is derived
 * (state.ts) and never stored.
 */
import { and, eq, getTableColumns, isNull, type SQL, sql } from 'drizzle-orm';
import { poolsAskedFor, USUAL_POOL, type WorkerPatch, type WorkerRequest } from '#contract';
import { revocationOfWorkersKeys } from '../access/keys.ts';
import { apply } from '../builds/apply.ts';
import { activeAttempts } from '../builds/rows.ts';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { newId } from '../ids.ts';
import { ensurePools } from '../projects/pools.ts';
import { POOLS_OF_WORKER } from '../queue/able-workers.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { workerPools, workers } from '../schema/index.ts';

const { findings: _, imageFetches: _fetches, ...columns } = getTableColumns(workers);
/**
 * The columns that everything reads. The others are left out, because a worker asks all the time: findings of
 * the doctor may have 300 KB, the states of image fetches 9 KB.
 */
export const WORKER_COLUMNS = { ...columns, pools: POOLS_OF_WORKER };
export type WorkerRow = Omit<typeof workers.$inferSelect, 'findings' | 'imageFetches'> & { pools: string[] };

const LISTED_MAX = 1_000;

/** Refused: `invalid_request` for a name that is taken. */
export async function registerWorker(
  env: Env,
  request: Omit<WorkerRequest, 'credential'>,
  now: number,
): Promise<{ ok: true; row: WorkerRow } | Refusal> {
  const { name, platforms, slots } = request;
  const pools = poolsAskedFor(request) ?? [USUAL_POOL];
  const id = newId('w', now);
  const row = { id, name, platforms, slots, pool: pools[0]!, trustedSince: now, createdAt: now };
  const db = openDatabase(env);
  await db.batch([
    db.insert(workers).values(row).onConflictDoNothing(),
    ...poolsInsertion(db, id, pools, sql`EXISTS (SELECT 1 FROM workers WHERE id = ${id})`),
    ensurePools(db, pools, now),
  ]);
  const inserted = await findWorker(env, id);
  return inserted
    ? { ok: true, row: inserted }
    : refusal('invalid_request', `name: there is already a worker ${request.name}; choose another name`);
}

export const findWorker = (env: Env, workerId: string): Promise<WorkerRow | undefined> =>
  openDatabase(env)
    .select(WORKER_COLUMNS)
    .from(workers)
    .where(and(eq(workers.id, workerId), isNull(workers.removedAt)))
    .get();

export const noWorker = (workerId: string): Refusal => refusal('not_found', `there is no worker ${workerId}`);

export const listWorkers = (env: Env): Promise<WorkerRow[]> =>
  openDatabase(env)
    .select(WORKER_COLUMNS)
    .from(workers)
    .where(isNull(workers.removedAt))
    .orderBy(workers.name)
    .limit(LISTED_MAX);

/** One row for each of the pools. */
const poolsInsertion = (db: Database, workerId: string, pools: readonly string[], condition: SQL) =>
  pools.map((pool, rank) => insertIf(db, workerPools, { workerId, pool, rank }, condition));

/** Pauses or resumes a worker, or moves it to other pools. Its attempts go on. */
export async function patchWorker(
  env: Env,
  workerId: string,
  request: WorkerPatch,
  now: number,
): Promise<WorkerRow | undefined> {
  const { action } = request;
  const pools = poolsAskedFor(request);
  const db = openDatabase(env);
  const isThere = and(eq(workers.id, workerId), isNull(workers.removedAt))!;
  const change = { pool: pools?.[0], ...(action && { paused: action === 'resume' ? null : action }) };
  await db.batch([
    db.update(workers).set(change).where(isThere),
    ...(pools
      ? [
          db.delete(workerPools).where(eq(workerPools.workerId, workerId)),
          ...poolsInsertion(db, workerId, pools, sql`EXISTS (SELECT 1 FROM workers WHERE ${isThere})`),
          ensurePools(db, pools, now),
        ]
      : []),
  ]);
  return findWorker(env, workerId);
}

/** Removes a worker: its keys are revoked at once, its attempts end, and its name may be used again. */
export async function removeWorker(env: Env, workerId: string, now: number): Promise<boolean> {
  const db = openDatabase(env);
  const [removed] = await db.batch([
    db
      .update(workers)
      .set({ removedAt: now, name: sql`${workers.name} || ':removed:' || ${workers.id}` })
      .where(and(eq(workers.id, workerId), isNull(workers.removedAt)))
      .returning(),
    revocationOfWorkersKeys(db, workerId, now),
  ]);
  await endAttemptsOf(env, workerId, 'the worker was removed', now);
  return removed.length > 0;
}

/** Ends the attempts of a worker that may no longer act, because it was removed or its key was revoked. */
export async function endAttemptsOf(env: Env, workerId: string, message: string, now: number): Promise<void> {
  for (const { build, attempt } of await activeAttempts(env, workerId)) {
    await apply(
      env,
      build.id,
      { type: 'fail', attempt: attempt.attempt, failure: { verdict: 'worker_stopped', message } },
      now,
    );
  }
}
