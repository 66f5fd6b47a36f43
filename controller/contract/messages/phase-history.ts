/**
 * Defines the history that a project's builds leave to its next build: how long each phase took, and when its
 * work was seen.
 */
import { z } from 'zod';
import { count, durationMs, lenient } from '../fields.ts';
import { CURVE_STEPS, HISTORY_BUILDS_MAX, HISTORY_PHASES_MAX } from '../sizes.ts';

export const PhaseHistory = z.object({
  id: z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/),
  durationMs,
  lines: count,
  /** Units of work, such as compiled files, installed pods or finished tasks. 0 if the phase showed none. */
  work: count,
  /** At index i: the per mille of the duration at which i/16 of the work was seen. */
  curve: z
    .array(z.number().int().min(0).max(1_000))
    .length(CURVE_STEPS + 1)
    .optional(),
});
export type PhaseHistory = z.infer<typeof PhaseHistory>;

/** The phases of one or more builds. The agent estimates the time left from it. */
export const ProgressHistory = z.object({
  version: z.literal(1),
  /** How many builds are mixed in this history. */
  builds: z.number().int().min(1).max(HISTORY_BUILDS_MAX),
  /**
   * The version of the log reader that made it. A later version may see other phases in the same lines.
   */
  reader: lenient(count),
  /** In the order in which they were first seen. */
  phases: z.array(PhaseHistory).max(HISTORY_PHASES_MAX),
});
export type ProgressHistory = z.infer<typeof ProgressHistory>;
