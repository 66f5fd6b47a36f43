/** How often agent and monitor speak, and how long both sides wait for each other. In milliseconds. */

import { limitOrDefaultMs, type Timeouts } from './timeouts.ts';
import { DAY_MS } from './units.ts';

/** After its end an attempt may append to its own log and post one evidence report for this long. */
export const AFTERMATH_MS = 35 * 60_000;

/** How often an agent beats and polls while the controller cannot push. */
export const AGENT_INTERVAL_MS = 4_000;

/**
 * The partition rule. With another attempt possible, an agent that cannot renew destroys its VM this long after the
 * worker's deadline (60 s by default); the build is claimable again a little later (75 s), so two VMs never build it at once.
 */
export const partitionGraceMs = (workerTimeoutMs: number) => Math.min(60_000, Math.round(workerTimeoutMs / 2));

export const requeueHoldMs = (workerTimeoutMs: number) => Math.min(75_000, Math.round(workerTimeoutMs * 0.625));

/** How often the monitor beats, and how often the agent: two lost beats must not be a verdict. */
export const beatIntervalMs = (timeouts: Pick<Timeouts, 'heartbeatTimeoutMs'>) =>
  Math.max(1, Math.round(limitOrDefaultMs(timeouts, 'heartbeatTimeoutMs') / 4));

export const agentIntervalMs = ({
  heartbeatTimeoutMs,
  workerTimeoutMs,
}: Pick<Timeouts, 'heartbeatTimeoutMs' | 'workerTimeoutMs'>) =>
  Math.max(
    1,
    Math.min(AGENT_INTERVAL_MS, ...[heartbeatTimeoutMs, workerTimeoutMs].map((ms) => Math.round((ms ?? DAY_MS) / 8))),
  );
