/** Shows workers, and what they hold and have done, as the API answers them. Reads only. */
import { and, eq, isNull, type SQL, sql } from 'drizzle-orm';
import type { Worker, WorkerAttempts, WorkerDurations } from '#contract';
import { activeAttempts, lastSucceeded } from '../builds/rows.ts';
import { readLive } from '../builds/views.ts';
import { openDatabase } from '../database.ts';
import { readStandings } from '../queue/able-workers.ts';
import { attempts, workers } from '../schema/index.ts';
import { iso, isoOrNull } from '../times.ts';
import type { WorkerRow } from './registry.ts';
import { stateOf } from './state.ts';

/** Enough attempts to tune limits by, and few enough to be recent. */
const DURATIONS_SHOWN = 20;

/**
 * All of `rows`, by a constant number of statements, without the doctor's findings: those of 200 workers may
 * be some 50 MB.
 */
export async function viewWorkers(
  env: Env,
  rows: WorkerRow[],
  workerTimeoutMs: number,
  now: number,
): Promise<Worker[]> {
  if (rows.length === 0) return [];
  const ids = JSON.stringify(rows.map(({ id }) => id));
  const these = (column: SQL.Aliased | SQL | typeof workers.id | typeof attempts.workerId) =>
    sql`${column} IN (SELECT value FROM json_each(${ids}))`;
  const [standings, active] = await Promise.all([
    readStandings(env, these(workers.id), now),
    openDatabase(env)
      .select({ workerId: attempts.workerId, buildId: attempts.buildId })
      .from(attempts)
      .where(and(isNull(attempts.endedAt), these(attempts.workerId))),
  ]);
  const standingOf = new Map(standings.map((standing) => [standing.id, standing]));
  const held = Map.groupBy(active, ({ workerId }) => workerId);
  return rows.map((row) => {
    const builds = held.get(row.id)?.map(({ buildId }) => buildId) ?? [];
    const { quarantined = false, keptUntil = null } = standingOf.get(row.id) ?? {};
    const facts = { activeBuilds: builds.length, quarantined, keptUntil, now, workerTimeoutMs };
    const { state, reason } = stateOf({ row, ...facts });
    const { id, name, pools, platforms, slots, slotsInUse, vms } = row;
    return {
      id,
      name,
      state,
      stateReason: reason,
      pools,
      pool: pools[0]!,
      platforms,
      images: row.images,
      slots,
      slotsInUse,
      vms,
      builds,
      lastSeenAt: isoOrNull(row.lastSeen),
      createdAt: iso(row.createdAt),
      findings: null,
    };
  });
}

/** One worker, with the doctor's findings. */
export async function viewWorker(env: Env, row: WorkerRow, workerTimeoutMs: number, now: number): Promise<Worker> {
  const [[worker], told] = await Promise.all([
    viewWorkers(env, [row], workerTimeoutMs, now),
    openDatabase(env).select({ findings: workers.findings }).from(workers).where(eq(workers.id, row.id)).get(),
  ]);
  return { ...worker!, findings: told?.findings ?? null };
}

export const viewState = async (env: Env, row: WorkerRow, workerTimeoutMs: number, now: number) =>
  (await viewWorkers(env, [row], workerTimeoutMs, now))[0]!.state;

/** The attempts that a worker holds now. A restarted agent learns from them what is current. */
export async function viewHeldAttempts(env: Env, workerId: string): Promise<WorkerAttempts> {
  const held = await activeAttempts(env, workerId);
  return {
    attempts: await Promise.all(
      held.map(async ({ build, attempt }) => {
        const live = await readLive(env, build);
        return {
          buildId: build.id,
          attempt: attempt.attempt,
          claimId: attempt.claimId,
          status: build.status === 'building' ? ('building' as const) : ('assigned' as const),
          claimedAt: iso(attempt.claimedAt),
          deadlines: live?.deadlines ?? [],
          progress: live?.progress ?? null,
          phase: live?.phase ?? null,
          endExpectedAt: live?.endExpectedAt ?? null,
          project: build.project,
          trusted: build.trusted,
        };
      }),
    ),
  };
}

/** How long the last successful attempts of a worker took. */
export async function viewDurations(env: Env, workerId: string): Promise<WorkerDurations> {
  const rows = await lastSucceeded(env, workerId, DURATIONS_SHOWN);
  return {
    attempts: rows.map(({ build, attempt }) => ({
      buildId: build.id,
      project: build.project,
      platform: build.platform,
      endedAt: iso(attempt.endedAt!),
      bootMs: attempt.startedAt === null ? null : attempt.startedAt - attempt.claimedAt,
      totalMs: attempt.endedAt! - attempt.claimedAt,
      quietMs: attempt.quietMs,
      timeouts: build.timeouts,
    })),
  };
}
