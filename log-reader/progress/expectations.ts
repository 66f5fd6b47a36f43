/**
 * What each phase is expected to take: as in an earlier build of the project if there was one, else the
 * typical figures, scaled by what the build has told of its size.
 */

import type { ProgressHistory } from '#contract';
import { EVEN_CURVE, factsOf, type PlainPhase, PREAMBLE_MS } from '../phases.ts';
import type { Expectation } from './estimate.ts';

/** The sizes that the typical figures belong to; see the sources in phases.ts. */
const TYPICAL_SIZE: Partial<Record<PlainPhase, number>> = { pods: 116, install: 1_200 };
/** Whose size tells how long another phase takes: pods are compiled, packages are bundled. */
const SIZE_DECIDES: Partial<Record<string, PlainPhase>> = { xcode: 'pods', bundle: 'install' };
/** Twice the size is not twice the time: some of it is the same for every project. */
const SIZE_EXPONENT = 0.7;
const SCALE_MIN = 0.05;

export interface Expectations {
  /** True if there was an earlier build. */
  readonly learned: boolean;
  of(id: string, plan: readonly string[]): Expectation;
  learnSize(phase: PlainPhase, size: number): void;
}

export function createExpectations(history: ProgressHistory | null): Expectations {
  const known = new Map((history?.phases ?? []).map((phase) => [phase.id, phase]));
  const sizes = new Map<PlainPhase, number>();

  const scaleOf = (phase: string): number => {
    const decides = SIZE_DECIDES[phase];
    const typical = decides && TYPICAL_SIZE[decides];
    const size = decides && sizes.get(decides);
    return typical && size ? Math.max(size / typical, SCALE_MIN) : 1;
  };

  return {
    learned: known.size > 0,

    of(id, plan) {
      const phase = known.get(id);
      if (phase) {
        const { durationMs, work, curve } = phase;
        return { durationMs, work: curve ? work : 0, curve: curve ?? EVEN_CURVE, learned: true };
      }
      const { typicalMs, typicalWork, like } = factsOf(id);
      const scale = scaleOf(like ?? id);
      // With a plan, what comes before its first phase is short; without one, the command is all there is.
      const durationMs = id === 'command' && plan.length > 1 ? PREAMBLE_MS : typicalMs * scale ** SIZE_EXPONENT;
      return { durationMs, work: typicalWork * scale, curve: EVEN_CURVE, learned: false };
    },

    learnSize(phase, size) {
      // The largest: installing one tool beside the project's dependencies tells nothing of the project.
      sizes.set(phase, Math.max(size, sizes.get(phase) ?? 0));
    },
  };
}
