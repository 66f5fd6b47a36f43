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
 */
import type { BuildStatus, Verdict } from '#contract';
import { type Refusal, refusal } from '../refusals.ts';
import { isInfrastructure } from './verdicts.ts';

export const EVENT_TYPES = ['claim', 'start', 'succeed', 'fail', 'requeue', 'cancel', 'expire'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** A missing cell is an illegal move. A self-loop is a message that may arrive twice; it writes nothing. */
export const TRANSITIONS = {
  queued: { claim: 'assigned', cancel: 'cancelled', expire: 'failed' },
  assigned: { start: 'building', fail: 'failed', requeue: 'queued', cancel: 'cancelled' },
  building: { start: 'building', succeed: 'succeeded', fail: 'failed', requeue: 'queued', cancel: 'cancelled' },
  succeeded: { succeed: 'succeeded' },
  failed: { fail: 'failed', expire: 'failed' },
  cancelled: { cancel: 'cancelled' },
} as const satisfies Record<BuildStatus, Partial<Record<EventType, BuildStatus>>>;

export const isFinal = (status: BuildStatus): boolean =>
  status === 'succeeded' || status === 'failed' || status === 'cancelled';
export const isActive = (status: BuildStatus): boolean => status === 'assigned' || status === 'building';

/** The part of a build's row that a decision needs. */
export interface BuildState {
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

/** A failure becomes a requeue if the infrastructure is to blame and another attempt is allowed. */
export const failureType = (verdict: Verdict, attempt: number, maxAttempts: number): 'fail' | 'requeue' =>
  isInfrastructure(verdict) && attempt < maxAttempts ? 'requeue' : 'fail';
