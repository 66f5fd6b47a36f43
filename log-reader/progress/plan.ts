/**
 * Says which phases a build will probably have, and which of them it has reached.
 *
 * Invariant: the output of a build never changes a plan that comes from an earlier build.
 */
import type { ProgressHistory } from '#contract';
import { EAS_PLANS, followersOf, isEasPhase, planOf } from '../phases.ts';

export interface Plan {
  /** In the order in which they are expected. */
  readonly phases: readonly string[];
  /**
   * True if the command or an earlier build named the phases. Otherwise they are guessed from the phases
   * seen.
   */
  readonly told: boolean;
  /** Records that the build has entered a phase. `seen` are all phases so far, with this one. */
  enter(id: string, seen: readonly string[]): void;
  /** The phase that begins when this one ends; undefined if that would be a guess. */
  after(id: string): string | undefined;
  /** The place of the current phase, or of the last seen phase that the plan knows; -1 if it knows none. */
  indexOf(current: string, seen: readonly string[]): number;
}

export interface PlanOptions {
  history: ProgressHistory | null;
  command: string;
  platform: 'ios' | 'android';
}

export function createPlan({ history, command, platform }: PlanOptions): Plan {
  const learned = history !== null && history.phases.length > 0;
  let phases: readonly string[] = history ? history.phases.map(({ id }) => id) : planOf(command, platform);
  const told = phases.length > 0;

  return {
    get phases() {
      return phases;
    },
    told,

    enter(id, seen) {
      if (learned) return;
      if (!phases.includes(id)) {
        const ahead = told ? phases.filter((other) => !seen.includes(other)) : followersOf(id);
        phases = isEasPhase(id) ? EAS_PLANS[platform] : [...seen, ...ahead];
      }
      // Only one platform has these phases, so the platform that was given, or assumed, was wrong.
      if (id === 'RUN_GRADLEW' || id === 'FIX_GRADLEW') phases = EAS_PLANS.android;
      if (id === 'RUN_FASTLANE' || id === 'INSTALL_PODS') phases = EAS_PLANS.ios;
    },

    after(id) {
      const at = phases.indexOf(id);
      return told && at >= 0 ? phases[at + 1] : undefined;
    },

    indexOf(current, seen) {
      const at = phases.indexOf(current);
      return at >= 0 ? at : Math.max(-1, ...seen.map((id) => phases.indexOf(id)));
    },
  };
}
