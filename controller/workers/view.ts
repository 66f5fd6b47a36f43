/** Shows workers, and what they hold and have done, as the API answers them. Reads only. */
import { and, eq, inArray, isNull } from 'drizzle-orm';
import type { Worker, WorkerAttempts, WorkerDurations } from '#contract';
import { activeAttempts, lastSucceeded } from '../builds/rows.ts';
import { readLive } from '../builds/views.ts';
import { openDatabase } from '../database.ts';
import { attempts, builds } from '../schema.ts';
import { iso, isoOrNull } from '../times.ts';
import type { WorkerRow } from './registry.ts';
import { isQuarantined, stateOf } from './state.ts';

/** Enough attempts to tune limits by, and few enough to be recent. */
const DURATIONS_SHOWN = 20;

export async function viewWorkers(
  env: Env,
  rows: WorkerRow[],
  workerTimeoutMs: number,
  now: number,
): Promise<Worker[]> {
  const active = rows.length
    ? await openDatabase(env)
        .select({ workerId: attempts.workerId, buildId: attempts.buildId })
        .from(attempts)
        .innerJoin(builds, and(eq(builds.id, attempts.buildId), eq(builds.attempt, attempts.attempt)))
        .where(and(isNull(attempts.endedAt), inArray(builds.status, ['assigned', 'building'])))
    : [];
  return Promise.all(
    rows.map(async (row) => {
      const held = active.filter(({ workerId }) => workerId === row.id).map(({ buildId }) => buildId);
      const quarantined = await isQuarantined(env, row);
      const { state, reason } = stateOf({ row, activeBuilds: held.length, quarantined, now, workerTimeoutMs });
      const { id, name, pool, platforms, slots, slotsInUse, vms, findings } = row;
      return {
        id,
        name,
        state,
        stateReason: reason,
        pool,
        platforms,
        slots,
        slotsInUse,
        vms,
        builds: held,
        lastSeenAt: isoOrNull(row.lastSeen),
        createdAt: iso(row.createdAt),
        findings,
      };
    }),
  );
}

export const viewWorker = async (env: Env, row: WorkerRow, workerTimeoutMs: number, now: number): Promise<Worker> =>
  (await viewWorkers(env, [row], workerTimeoutMs, now))[0]!;

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
