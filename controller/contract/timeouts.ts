/**
 * Defines the timeouts of a build: their schema, their defaults, and the smallest values that may be asked
 * for.
 */
import { z } from 'zod';
import { durationMs } from './fields.ts';
import { DAY_MS } from './units.ts';

/** How long a build may be silent, or take. Null means off; only a change in D1 can set it, never the API. */
export const Timeouts = z.object({
  heartbeatTimeoutMs: durationMs.nullable(),
  workerTimeoutMs: durationMs.nullable(),
  bootTimeoutMs: durationMs.nullable(),
  noOutputTimeoutMs: durationMs.nullable(),
  buildTimeoutMs: durationMs.nullable(),
  queueTimeoutMs: durationMs.nullable(),
});
export type Timeouts = z.infer<typeof Timeouts>;

export const DEFAULT_TIMEOUTS = {
  heartbeatTimeoutMs: 120_000,
  workerTimeoutMs: 120_000,
  bootTimeoutMs: 600_000,
  noOutputTimeoutMs: 900_000,
  buildTimeoutMs: 7_200_000,
  queueTimeoutMs: DAY_MS,
} as const satisfies Timeouts;

/** Reads a timeout that is off as the default, for a clock that needs a number. */
export const limitOrDefaultMs = <Name extends keyof Timeouts>(timeouts: Pick<Timeouts, Name>, name: Name): number =>
  timeouts[name] ?? DEFAULT_TIMEOUTS[name];

/** The smallest values that a submitter may ask for. Below 20 s one lost beat would already be a verdict. */
export const TIMEOUT_MINIMA: Record<keyof Timeouts, number> = {
  heartbeatTimeoutMs: 20_000,
  workerTimeoutMs: 20_000,
  bootTimeoutMs: 20_000,
  noOutputTimeoutMs: 20_000,
  buildTimeoutMs: 30_000,
  queueTimeoutMs: 60_000,
};
