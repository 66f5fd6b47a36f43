/**
 * The figures in which the controller of a test differs from the deployed one. `createController` takes them
 * as an argument, so that no variable of a deployment can change them.
 */
import { AGENT_INTERVAL_MS, DEFAULT_TIMEOUTS, TIMEOUT_MINIMA, type Timeouts } from '#contract';

export interface Settings {
  /** The smallest timeouts that a submitter may ask for. */
  timeoutMinima: Record<keyof Timeouts, number>;
  /** After this time without a word from its agent, another agent may act for the worker. */
  workerTimeoutMs: number;
  /** How often an idle agent asks for work. */
  pollMs: number;
}

export const SETTINGS: Settings = {
  timeoutMinima: TIMEOUT_MINIMA,
  workerTimeoutMs: DEFAULT_TIMEOUTS.workerTimeoutMs,
  pollMs: AGENT_INTERVAL_MS,
};

/**
 * A worker counts as offline after this time without a word from its agent: late messages get half a timeout
 * more.
 */
export const offlineAfterMs = (workerTimeoutMs: number): number => 1.5 * workerTimeoutMs;
