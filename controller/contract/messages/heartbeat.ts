/**
 * Defines the heartbeat.
 *
 * Invariant: it is fixed, because a monitor in an old image outlives many controllers.
 */
import { z } from 'zod';
import { STAGES } from '../closed-lists.ts';
import { attempt, durationMs, lenient, text, time } from '../fields.ts';

export const Heartbeat = z.object({
  progress: lenient(z.number().min(0).max(100)),
  /** Where the figure comes from. If a monitor does not say, it counts as `script`. */
  origin: lenient(z.enum(['script', 'parsed', 'time'])),
  /** A label for people. */
  phase: lenient(text(120)),
  /** The expected time until the command ends. Only set if earlier builds tell it. */
  etaMs: lenient(durationMs),
  source: z.enum(['vm', 'agent']).optional(),
  attempt: attempt.optional(),
  stage: lenient(z.enum(STAGES)),
  /**
   * The time since the log last grew, without the time in which the VM worked although it printed nothing.
   * Left out while the agent cannot read the log.
   */
  outputAgeMs: lenient(durationMs),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

export const HeartbeatAnswer = z.object({
  status: z.literal('ok'),
  timestamp: time,
  action: z.enum(['continue', 'stop']),
  nextMs: z.number().int().min(1),
  /** The last accepted beat of the VM. It tells the agent that the monitor reaches the controller. */
  vmBeatAt: time.nullable(),
});
export type HeartbeatAnswer = z.infer<typeof HeartbeatAnswer>;
