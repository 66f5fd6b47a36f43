/** Mixes the phase histories of a project's builds. Pure; phase-history.ts stores the result. */
import { HISTORY_BUILDS_MAX, type PhaseHistory, type ProgressHistory } from '#contract';

/**
 * The newest build counts half. Projects and machines change, but one odd build must not decide the next
 * estimate.
 */
const NEWEST_SHARE = 0.5;

/**
 * Mixes the history of a finished build into that of its project. Phases that the newest build lacks are
 * dropped.
 */
export function mergeHistory(known: ProgressHistory | null, newest: ProgressHistory): ProgressHistory {
  if (!known) return newest;
  // Two versions of the log reader see different phases in the same log, so their figures do not mix. The
  // later version is right.
  const byOlder = (newest.reader ?? 0) - (known.reader ?? 0);
  if (byOlder !== 0) return byOlder > 0 ? newest : known;
  const before = new Map(known.phases.map((phase) => [phase.id, phase]));
  return {
    version: 1,
    builds: Math.min(known.builds + newest.builds, HISTORY_BUILDS_MAX),
    ...(newest.reader !== undefined && { reader: newest.reader }),
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
