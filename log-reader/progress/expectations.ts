/**
 * Says how long each phase will probably take. It uses an earlier build of the project if there was one.
 * Otherwise it uses typical figures, scaled by the size that the output of the build shows.
 */
import type { ProgressHistory } from '#contract';
import { EVEN_CURVE, factsOf, type PlainPhase, PREAMBLE_MS } from '../phases.ts';
import type { Expectation } from './estimate.ts';

/** The sizes of the projects from which the typical figures come; see the sources in phases.ts. */
const TYPICAL_SIZE: Partial<Record<PlainPhase, number>> = { pods: 116, install: 1_200 };
/**
 * The phase whose size decides how long another takes: Xcode compiles the pods, Metro bundles the packages.
 */
const SIZE_DECIDES: Partial<Record<string, PlainPhase>> = { xcode: 'pods', bundle: 'install' };
/**
 * A project of twice the size takes less than twice the time, because part of the time is always the same.
 */
const SIZE_EXPONENT = 0.7;
const SCALE_MIN = 0.05;

export interface Expectations {
  /** True if there was an earlier build. */
  readonly learned: boolean;
  of(id: string, plan: readonly string[]): Expectation;
  learnSize(phase: PlainPhase, size: number): void;
  /** Replaces the typical figure of the phase by the one that the output of this build suggests. */
  learnTypical(phase: PlainPhase, typicalMs: number): void;
}

export function createExpectations(history: ProgressHistory | null): Expectations {
  const known = new Map((history?.phases ?? []).map((phase) => [phase.id, phase]));
  const sizes = new Map<PlainPhase, number>();
  const estimatesMs = new Map<string, number>();

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
      // With a plan, the time before its first phase is short. Without one, the command is the only phase.
      const usualMs = estimatesMs.get(like ?? id) ?? typicalMs * scale ** SIZE_EXPONENT;
      const durationMs = id === 'command' && plan.length > 1 ? PREAMBLE_MS : usualMs;
      return { durationMs, work: typicalWork * scale, curve: EVEN_CURVE, learned: false };
    },

    learnTypical(phase, typicalMs) {
      estimatesMs.set(phase, typicalMs);
    },

    learnSize(phase, size) {
      // Keeps the largest size, because a build may also install single tools beside the project's
      // dependencies.
      sizes.set(phase, Math.max(size, sizes.get(phase) ?? 0));
    },
  };
}
