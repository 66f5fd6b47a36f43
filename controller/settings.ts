/**
 * Holds the figures in which the controller of a test differs from the deployed one. `createController` takes
 * them as an argument, so that no variable of a deployment can change them.
 */
import { AGENT_INTERVAL_MS, DEFAULT_TIMEOUTS, TIMEOUT_MINIMA, type Timeouts } from '#contract';
import { STORE_ADDRESSES, type StoreAddresses } from './stores/step.ts';

export interface Settings {
  /** The smallest timeouts that a submitter may ask for. */
  timeoutMinima: Record<keyof Timeouts, number>;
  /** After this time without a word from its agent, another agent may act for the worker. */
  workerTimeoutMs: number;
  /** How often an idle agent asks for work. */
  pollMs: number;
  follow: FollowTimes;
  /** Where the stores are. */
  stores: StoreAddresses;
}

/** The times of a stream that follows a log (build-log/follow.ts). */
export interface FollowTimes {
  /** The longest time that one stream lasts. Then the reader connects again, and its key is judged anew. */
  streamMaxMs: number;
  /** The longest pause between two looks into D1, while the build waits in the queue. */
  queuePauseMaxMs: number;
  /** How often a stream looks whether its key was revoked, unless a revocation is sure to tell it. */
  keyCheckMs: number;
  /**
   * The stream sends a sign of life at least this often, because some proxies close a connection that stays
   * silent.
   */
  keepAliveMs: number;
  /** After the end of an attempt, the stream waits this long for the attempt's last bytes. */
  lastBytesMs: number;
}

export const SETTINGS: Settings = {
  timeoutMinima: TIMEOUT_MINIMA,
  workerTimeoutMs: DEFAULT_TIMEOUTS.workerTimeoutMs,
  pollMs: AGENT_INTERVAL_MS,
  follow: {
    streamMaxMs: 15 * 60_000,
    queuePauseMaxMs: 15_000,
    // With the time of the look itself, a revoked key's stream ends within 5 s.
    keyCheckMs: 4_000,
    keepAliveMs: 15_000,
    lastBytesMs: 10_000,
  },
  stores: STORE_ADDRESSES,
};

/**
 * A worker counts as offline after this time without a word from its agent. Late messages get half a timeout
 * more.
 */
export const offlineAfterMs = (workerTimeoutMs: number): number => 1.5 * workerTimeoutMs;
