/** Says how often agent and monitor speak, and how long both sides wait for each other. In milliseconds. */
import { limitOrDefaultMs, type Timeouts } from './timeouts.ts';
import { DAY_MS } from './units.ts';

/** For this long after its end an attempt may append to its own log and report its evidence once. */
export const AFTERMATH_MS = 35 * 60_000;

/** Whether an attempt that has ended may still write its own log and report its evidence. */
export const isInAftermath = (endedAt: number, now: number): boolean => now < endedAt + AFTERMATH_MS;

/** How often an agent beats, and asks for work. */
export const AGENT_INTERVAL_MS = 4_000;

/**
 * The partition rule, for a build that may get another attempt. An agent that cannot reach the controller
 * destroys its VM this long after the worker's deadline, 60 s by default.
 */
export const partitionGraceMs = (workerTimeoutMs: number) => Math.min(60_000, Math.round(workerTimeoutMs / 2));

/**
 * The build may be claimed again only after this time, 75 s by default, so that two VMs never build it at
 * once.
 */
export const requeueHoldMs = (workerTimeoutMs: number) => Math.min(75_000, Math.round(workerTimeoutMs * 0.625));

/** How often the monitor beats. Two lost beats must not be a verdict. */
export const beatIntervalMs = (timeouts: Pick<Timeouts, 'heartbeatTimeoutMs'>) =>
  Math.max(1, Math.round(limitOrDefaultMs(timeouts, 'heartbeatTimeoutMs') / 4));

/** How often the agent beats. */
export const agentIntervalMs = ({
  heartbeatTimeoutMs,
  workerTimeoutMs,
}: Pick<Timeouts, 'heartbeatTimeoutMs' | 'workerTimeoutMs'>) =>
  Math.max(
    1,
    Math.min(AGENT_INTERVAL_MS, ...[heartbeatTimeoutMs, workerTimeoutMs].map((ms) => Math.round((ms ?? DAY_MS) / 8))),
  );
