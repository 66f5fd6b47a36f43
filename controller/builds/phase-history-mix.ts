/** Mixes what builds of one project have told of their phases. Pure; histories.ts keeps the result. */
import type { PhaseHistory, ProgressHistory } from '#contract';

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
