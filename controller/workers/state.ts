/** Derives the state of a worker from its row and its attempts. Reads only. */
import { and, desc, eq, gt, isNotNull, isNull, ne } from 'drizzle-orm';
import type { WorkerState } from '#contract';
import { isInfrastructure } from '../builds/verdicts.ts';
import { openDatabase } from '../database.ts';
import { attempts, workers } from '../schema.ts';
import { offlineAfterMs } from '../settings.ts';
import { iso } from '../times.ts';
import type { WorkerRow } from './registry.ts';

/**
 * A worker is in quarantine after so many attempts in a row that the infrastructure lost, until its doctor
 * passes.
 */
const QUARANTINE_AFTER = 3;

/**
 * True if the infrastructure lost the last {@link QUARANTINE_AFTER} attempts since the worker was trusted.
 */
export async function isQuarantined(env: Env, worker: WorkerRow): Promise<boolean> {
  const last = await openDatabase(env)
    .select({ verdict: attempts.verdict })
    .from(attempts)
    .where(
      and(eq(attempts.workerId, worker.id), isNotNull(attempts.endedAt), gt(attempts.claimedAt, worker.trustedSince)),
    )
    .orderBy(desc(attempts.endedAt))
    .limit(QUARANTINE_AFTER);
  return last.length === QUARANTINE_AFTER && last.every(({ verdict }) => verdict !== null && isInfrastructure(verdict));
}

/** True if the pool of `worker` has another worker that was heard since `heardSince` and is not paused. */
export async function hasAlternative(env: Env, worker: WorkerRow, heardSince: number): Promise<boolean> {
  const other = await openDatabase(env).query.workers.findFirst({
    where: and(
      eq(workers.pool, worker.pool),
      ne(workers.id, worker.id),
      isNull(workers.removedAt),
      isNull(workers.paused),
      gt(workers.lastSeen, heardSince),
    ),
  });
  return other !== undefined;
}

interface Facts {
  row: WorkerRow;
  activeBuilds: number;
  quarantined: boolean;
  now: number;
  workerTimeoutMs: number;
}

/** Chooses the state: the first that holds, in this order. Pure. */
export function stateOf({ row, activeBuilds, quarantined, now, workerTimeoutMs }: Facts): {
  state: WorkerState;
  reason: string | null;
} {
  if (row.lastSeen === null) return { state: 'offline', reason: 'its agent has never been heard' };
  if (now - row.lastSeen > offlineAfterMs(workerTimeoutMs)) {
    return { state: 'offline', reason: `its agent was last heard at ${iso(row.lastSeen)}` };
  }
  const busy = activeBuilds >= row.slots;
  if (row.paused && activeBuilds === 0) {
    return { state: 'paused', reason: row.paused === 'drain' ? 'drained by an operator' : 'paused by an operator' };
  }
  if (quarantined && activeBuilds === 0) {
    return {
      state: 'quarantined',
      reason:
        `the infrastructure lost its last ${QUARANTINE_AFTER} attempts; ` +
        'it takes builds again when `expo-worker doctor` passes on its Mac',
    };
  }
  if (busy) return { state: 'busy', reason: null };
  if (activeBuilds > 0) return { state: 'busy', reason: row.notReady };
  if (row.slotsInUse > 0) return { state: 'cleaning', reason: 'its last VM is still being deleted' };
  return { state: 'idle', reason: row.notReady };
}
