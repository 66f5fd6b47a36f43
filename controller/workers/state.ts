/** Derives the state of a worker from its row and its attempts. Pure. */
import type { WorkerState } from '#contract';
import { QUARANTINE_AFTER } from '../queue/quarantine.ts';
import { offlineAfterMs } from '../settings.ts';
import { iso } from '../times.ts';
import type { WorkerRow } from './registry.ts';

interface Facts {
  row: Pick<WorkerRow, 'lastSeen' | 'slots' | 'slotsInUse' | 'paused' | 'notReady'>;
  activeBuilds: number;
  quarantined: boolean;
  /** Until when it keeps a VM for a look. */
  keptUntil: number | null;
  now: number;
  workerTimeoutMs: number;
}

/** Chooses the state: the first that holds, in this order. */
export function stateOf({ row, activeBuilds, quarantined, keptUntil, now, workerTimeoutMs }: Facts): {
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
  if (row.slotsInUse > 0) {
    const kept = keptUntil === null ? null : `it keeps the VM of a failed build for a look until ${iso(keptUntil)}`;
    return { state: 'cleaning', reason: kept ?? 'its last VM is still being deleted' };
  }
  return { state: 'idle', reason: row.notReady };
}
