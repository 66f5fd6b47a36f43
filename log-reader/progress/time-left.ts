/**
 * Calculates how many milliseconds a build still takes: the rest of its current phase, and the later phases
 * of the plan. Pure.
 *
 * Invariant: the answer is never negative.
 */
import { type Expectation, leftInPhase, type Seen, speedOf } from './estimate.ts';

export interface Standing {
  /** The phases that the build will probably have. */
  plan: readonly string[];
  /** The place in `plan` at which the build stands; -1 if it stands at none. */
  at: number;
  current: { id: string; seen: Seen };
  /** The phases that the build has left, and for how long it was in them. */
  left: ReadonlyMap<string, { elapsedMs: number; ended: boolean }>;
  expected(id: string): Expectation;
  /** True if the expectations come from an earlier build. */
  learned: boolean;
}

/**
 * The weight of the usual speed at the start of a build. It is a share of the whole if the speed was learned.
 */
const SPEED_TRUST_LEARNED = 0.5;
const SPEED_TRUST_TYPICAL_MS = 300_000;

export function timeLeft({ plan, at, current, left, expected, learned }: Standing): number {
  const speed = speedSoFar();
  let leftMs = leftInPhase(expected(current.id), current.seen, speed);
  for (const id of plan.slice(at + 1)) {
    const before = left.get(id);
    if (id === current.id || before?.ended) continue;
    leftMs += Math.max(expected(id).durationMs * speed - (before?.elapsedMs ?? 0), 0);
  }
  return leftMs;

  /** The speed of this build compared with the expected one, over all phases except the current one. */
  function speedSoFar(): number {
    let actualMs = 0;
    let expectedMs = 0;
    for (const [id, { elapsedMs }] of left) {
      actualMs += elapsedMs;
      expectedMs += expected(id).durationMs;
    }
    const wholeMs = plan.reduce((sum, id) => sum + expected(id).durationMs, 0);
    return speedOf(actualMs, expectedMs, learned ? wholeMs * SPEED_TRUST_LEARNED : SPEED_TRUST_TYPICAL_MS);
  }
}
