/**
 * What one build tells the next of the same project: how long each phase took, how much work it was, and when in the
 * phase that work was seen. Kept by the controller per project. Only builds that succeeded are worth keeping.
 */
import { z } from 'zod';

/** The curve is read at 0/16, 1/16 … 16/16 of a phase's work. */
export const CURVE_STEPS = 16;
export const HISTORY_PHASES_MAX = 96;
const count = z.number().int().min(0).max(1_000_000_000);

export const PhaseHistory = z.object({
  id: z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/),
  durationMs: z.number().int().min(0).max(2_592_000_000),
  lines: count,
  /** Units of work: compiled files, installed pods, finished tasks. 0 if the phase showed none. */
  work: count,
  /** Per mille of the duration at which i/16 of the work had been seen. */
  curve: z
    .array(z.number().int().min(0).max(1_000))
    .length(CURVE_STEPS + 1)
    .optional(),
});
export type PhaseHistory = z.infer<typeof PhaseHistory>;

export const ProgressHistory = z.object({
  version: z.literal(1),
  /** How many builds are mixed in it. */
  builds: z.number().int().min(1).max(1_000_000),
  /** In the order in which they were first seen. */
  phases: z.array(PhaseHistory).max(HISTORY_PHASES_MAX),
});
export type ProgressHistory = z.infer<typeof ProgressHistory>;

/** The newest build counts half: projects and machines change, but one odd build should not rule the next estimate. */
const NEWEST_SHARE = 0.5;

/** Mixes a finished build into what is known of its project. Phases that the newest build did not have are forgotten. */
export function mergeHistory(known: ProgressHistory | null, newest: ProgressHistory): ProgressHistory {
  if (!known) return newest;
  const before = new Map(known.phases.map((phase) => [phase.id, phase]));
  return {
    version: 1,
    builds: Math.min(known.builds + newest.builds, 1_000_000),
    phases: newest.phases.map((phase) => {
      const old = before.get(phase.id);
      return old ? mix(old, phase) : phase;
    }),
  };
}

function mix(old: PhaseHistory, newest: PhaseHistory): PhaseHistory {
  const between = (a: number, b: number) => Math.round(a + (b - a) * NEWEST_SHARE);
  const curve =
    old.curve && newest.curve
      ? newest.curve.map((at, index) => between(old.curve?.[index] ?? at, at))
      : (newest.curve ?? old.curve);
  return {
    id: newest.id,
    durationMs: between(old.durationMs, newest.durationMs),
    lines: between(old.lines, newest.lines),
    work: between(old.work, newest.work),
    ...(curve && { curve }),
  };
}
