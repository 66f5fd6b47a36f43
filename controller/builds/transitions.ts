/**
 * Decides which event may change a build in which status, by a table. Pure: no clock, no I/O.
 *
 * Invariant: no change of status happens without a cell of the table, and a final status never changes.
 *
 *            claim            start              succeed
 *   queued ────────▶ assigned ─────▶ building ─────────────▶ succeeded
 *     ▲ │               │  │          │ │ │
 *     │ │    requeue    │  │   fail   │ │ │ requeue
 *     └─┼───────────────┘  └────┬─────┘ │ └──────▶ queued
 *       │ expire                ▼       │
 *       ├───────────────────▶ failed    │ cancel
 *       └─ cancel ──────────────────────┴─────────────────▶ cancelled
 *
 * `hand_back` is a requeue that takes no attempt from the build. `cancel` also ends an assigned build.
 */
import { AFTERMATH_MS, BUILD_STATUSES, type BuildStatus, type HandBackReason, type Verdict } from '#contract';
import { type Refusal, refusal } from '../refusals.ts';
import { isInfrastructure } from './verdicts.ts';

export const EVENT_TYPES = ['claim', 'start', 'succeed', 'fail', 'requeue', 'hand_back', 'cancel', 'expire'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** A missing cell is an illegal move. A self-loop is a message that may arrive twice; it writes nothing. */
export const TRANSITIONS = {
  queued: { claim: 'assigned', cancel: 'cancelled', expire: 'failed' },
  assigned: { start: 'building', fail: 'failed', requeue: 'queued', hand_back: 'queued', cancel: 'cancelled' },
  building: { start: 'building', succeed: 'succeeded', fail: 'failed', requeue: 'queued', cancel: 'cancelled' },
  succeeded: { succeed: 'succeeded' },
  failed: { fail: 'failed', expire: 'failed' },
  cancelled: { cancel: 'cancelled' },
} as const satisfies Record<BuildStatus, Partial<Record<EventType, BuildStatus>>>;

export const isFinal = (status: BuildStatus): boolean =>
  status === 'succeeded' || status === 'failed' || status === 'cancelled';
export const isActive = (status: BuildStatus): boolean => status === 'assigned' || status === 'building';

/** The statuses of a build with a running attempt. */
export const ACTIVE_STATUSES: readonly BuildStatus[] = BUILD_STATUSES.filter(isActive);

/** The statuses of a build that waits or is active. */
export const UNFINISHED_STATUSES: readonly BuildStatus[] = BUILD_STATUSES.filter((status) => !isFinal(status));

/** The part of a build's row that a decision needs. */
interface BuildState {
  status: BuildStatus;
  attempt: number;
}

export type Decision =
  | { ok: true; to: BuildStatus; changes: true }
  /** A self-loop. For a report, the caller must still check that it is an exact repetition. */
  | { ok: true; to: BuildStatus; changes: false }
  | Refusal;

/**
 * Decides what `type` does to a build in `state`.
 *
 * @param attempt the attempt that the message is about. Null for cancel and expire, which are about the whole
 *   build. A claim names the attempt that it wants to begin.
 */
export function decide(state: BuildState, type: EventType, attempt: number | null): Decision {
  const to = (TRANSITIONS[state.status] as Partial<Record<EventType, BuildStatus>>)[type];
  if (attempt !== null) {
    const expected = type === 'claim' ? state.attempt + 1 : state.attempt;
    if (attempt < expected)
      return refusal('stale_attempt', `attempt ${attempt} is over; the build is at attempt ${state.attempt}`);
    if (attempt > expected) return refusal('illegal_transition', `attempt ${attempt} has not begun`);
    // The attempt of a requeued build has ended, although the build has not.
    if (type !== 'claim' && state.status === 'queued') return refusal('attempt_ended', `attempt ${attempt} has ended`);
  }
  if (to === undefined) {
    return isFinal(state.status)
      ? refusal(attempt === null ? 'illegal_transition' : 'attempt_ended', `the build has ended: ${state.status}`)
      : refusal('illegal_transition', `a build that is ${state.status} cannot ${type}`);
  }
  return { ok: true, to, changes: to !== state.status };
}

/** The refusal of a message about an attempt whose aftermath is over. */
export const aftermathIsOver = (attempt: number) => {
  const message = `attempt ${attempt} ended more than ${AFTERMATH_MS / 60_000} minutes ago`;
  return { ...refusal('attempt_ended', message), code: 'attempt_ended' as const };
};

/**
 * The most times that a build is handed back, so that a pool of Macs without VMs does not hold it for ever.
 */
export const HAND_BACKS_MAX = 3;

/** The part of a build's row that decides what follows a failed attempt. */
interface Tries extends BuildState {
  maxAttempts: number;
  handBacks: number;
}

/** Whether another attempt may follow the present one, if the infrastructure loses it. */
export const isAttemptLeft = ({ attempt, handBacks, maxAttempts }: Omit<Tries, 'status'>): boolean =>
  attempt - handBacks < maxAttempts;

/**
 * Decides what a failed attempt does to its build. A Mac that can have no VM hands the build back. Otherwise
 * the build is queued again if the infrastructure is to blame and another attempt is allowed.
 */
export function failureType(
  { verdict, handBack }: { verdict: Verdict; handBack?: HandBackReason | undefined },
  build: Tries,
): 'fail' | 'requeue' | 'hand_back' {
  const isHandedBack = handBack !== undefined && verdict === 'vm_start_failed' && build.status === 'assigned';
  if (isHandedBack && build.handBacks < HAND_BACKS_MAX) return 'hand_back';
  return isInfrastructure(verdict) && isAttemptLeft(build) ? 'requeue' : 'fail';
}
