/** The heartbeat.
 *
 * Invariant: a fixed contract, because a monitor in an old image outlives many controllers.
 */
import { z } from 'zod';
import { STAGES } from '../closed-lists.ts';
import { attempt, durationMs, lenient, text, time } from './fields.ts';

export const Heartbeat = z.object({
  progress: lenient(z.number().min(0).max(100)),
  /** Where the figure comes from; a plain monitor's own figure counts as the script's. */
  origin: lenient(z.enum(['script', 'parsed', 'time'])),
  /** A label for people. */
  phase: lenient(text(120)),
  /** Until the command is expected to end; only where an earlier build tells. */
  etaMs: lenient(durationMs),
  source: z.enum(['vm', 'agent']).optional(),
  attempt: attempt.optional(),
  stage: lenient(z.enum(STAGES)),
  /** Since the log last grew; left out while the agent cannot read it. */
  outputAgeMs: lenient(durationMs),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

export const HeartbeatAnswer = z.object({
  status: z.literal('ok'),
  timestamp: time,
  action: z.enum(['continue', 'stop']),
  nextMs: z.number().int().min(1),
  /** The last accepted beat of the VM: how the agent knows that the monitor gets through. */
  vmBeatAt: time.nullable(),
});
export type HeartbeatAnswer = z.infer<typeof HeartbeatAnswer>;
