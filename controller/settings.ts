/**
 * The figures in which the deployed controller differs from a test's: an argument of `createController`, so that no
 * variable of a deployment can change them.
 */
import { AGENT_INTERVAL_MS, TIMEOUT_MINIMA, type Timeouts } from '#contract';

export interface Limits {
  /** The smallest timeouts that a submitter may ask for. */
  timeoutMinima: Record<keyof Timeouts, number>;
  /** A worker that has not been heard for this long may be taken over by another agent, and counts as offline soon after. */
  workerTimeoutMs: number;
  /** How often an idle agent asks for work. */
  pollMs: number;
}

export const LIMITS: Limits = { timeoutMinima: TIMEOUT_MINIMA, workerTimeoutMs: 120_000, pollMs: AGENT_INTERVAL_MS };
