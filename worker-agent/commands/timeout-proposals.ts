/**
 * Proposes timeouts from the durations of earlier builds. Pure.
 *
 * Invariant: proposes nothing from too few builds, and no timeout below the time that the slowest one needed.
 */
import { DEFAULT_TIMEOUTS, type Timeouts, type WorkerDurations } from '#contract';

export const BUILDS_MIN = 3;

export interface Proposal {
  name: 'bootTimeoutMs' | 'noOutputTimeoutMs' | 'buildTimeoutMs';
  /** How many builds the proposal comes from. */
  builds: number;
  medianMs: number;
  slowestMs: number;
  /** The limit of the newest of them. Null if it is off. */
  presentMs: number | null;
  proposedMs: number;
}

type Durations = WorkerDurations['attempts'][number];

/** How much room to leave above the slowest build: a boot under load, a quiet compiler, a cold cache. */
const RULES: readonly {
  name: Proposal['name'];
  of: (one: Durations) => number | null;
  factor: number;
  leastMs: number;
}[] = [
  { name: 'bootTimeoutMs', of: ({ bootMs }) => bootMs, factor: 3, leastMs: 120_000 },
  { name: 'noOutputTimeoutMs', of: ({ quietMs }) => quietMs, factor: 3, leastMs: 300_000 },
  { name: 'buildTimeoutMs', of: ({ totalMs }) => totalMs, factor: 2, leastMs: 600_000 },
];
const STEP_MS = 60_000;

export function proposeTimeouts(attempts: readonly Durations[]): Proposal[] {
  const present: Timeouts = attempts[0]?.timeouts ?? DEFAULT_TIMEOUTS;
  return RULES.flatMap(({ name, of, factor, leastMs }) => {
    const known = attempts
      .map(of)
      .filter((ms) => ms !== null)
      .sort((a, b) => a - b);
    const slowestMs = known.at(-1);
    if (slowestMs === undefined || known.length < BUILDS_MIN) return [];
    const proposedMs = Math.max(leastMs, Math.ceil((slowestMs * factor) / STEP_MS) * STEP_MS);
    const medianMs = known[Math.floor(known.length / 2)]!;
    return [{ name, builds: known.length, medianMs, slowestMs, presentMs: present[name], proposedMs }];
  });
}
