/**
 * Registers, finds, pauses and removes workers.
 *
 * Owns the table `workers` together with presence.ts. The state of a worker is derived (state.ts) and never
 * stored.
 */
import { and, eq, getTableColumns, isNull, sql } from 'drizzle-orm';
import type { WorkerPatch, WorkerRequest } from '#contract';
import { revocationOfWorkersKeys } from '../access/keys.ts';
import { apply } from '../builds/apply.ts';
import { activeAttempts } from '../builds/rows.ts';
import { openDatabase } from '../database.ts';
import { newId } from '../ids.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { workers } from '../schema/index.ts';

const { findings: _, ...columns } = getTableColumns(workers);
/**
 * The columns that everything reads. The findings of the doctor may have 300 KB, and a worker asks all the
 * time.
 */
export const WORKER_COLUMNS = columns;
export type WorkerRow = Omit<typeof workers.$inferSelect, 'findings'>;

const LISTED_MAX = 1_000;

/** Refused: `invalid_request` for a name that is taken. */
export async function registerWorker(
  env: Env,
  request: Omit<WorkerRequest, 'credential'>,
  now: number,
): Promise<{ ok: true; row: WorkerRow } | Refusal> {
  const row = { id: newId('w', now), ...request, trustedSince: now, createdAt: now };
  const inserted = await openDatabase(env).insert(workers).values(row).onConflictDoNothing().returning(WORKER_COLUMNS);
  return inserted[0]
    ? { ok: true, row: inserted[0] }
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

/** Pauses or resumes a worker, or moves it to another pool. What it holds goes on. */
export async function patchWorker(
  env: Env,
  workerId: string,
  { action, pool }: WorkerPatch,
): Promise<WorkerRow | undefined> {
  const rows = await openDatabase(env)
    .update(workers)
    .set({ pool, ...(action && { paused: action === 'resume' ? null : action }) })
    .where(and(eq(workers.id, workerId), isNull(workers.removedAt)))
    .returning(WORKER_COLUMNS);
  return rows[0];
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
