/**
 * Decides which parts of the record of earlier builds this build may use. Pure.
 *
 * Invariant: a record that was learned from a wrong phase is not used.
 *
 * Earlier versions of this program took CocoaPods' own lines for Xcode's, did not know the command line of
 * React Native, and counted each task of Gradle the same. Their records carry no number, or a lower one.
 */
import type { ProgressHistory } from '#contract';
import { factsOf } from '../phases.ts';

/** Raise this number whenever the program counts lines to other phases, or in other units of work. */
export const READER = 2;
/** The phases that take most of a build's time. */
const MAIN_PHASES = ['xcode', 'gradle'];

/** `told` are the phases that the build's command names, in its order. */
export function usableHistory(history: ProgressHistory | null, told: readonly string[]): ProgressHistory | null {
  if (!history || (history.reader ?? 0) >= READER) return history;
  const ids = history.phases.map(({ id }) => id);
  if (isOutOfOrder(ids, ['pods', ...MAIN_PHASES]) || isOutOfOrder(ids, told)) return null;
  if (told.some((id) => MAIN_PHASES.includes(id) && !ids.includes(id))) return null;
  return {
    ...history,
    // The duration of Gradle is still right. The work of its tasks is not, because they counted differently.
    phases: history.phases.map(({ curve, ...phase }) =>
      (factsOf(phase.id).like ?? phase.id) === 'gradle' ? { ...phase, work: 0 } : { ...phase, ...(curve && { curve }) },
    ),
  };
}

/** True if the phases that are in both lists have another order. */
function isOutOfOrder(ids: readonly string[], order: readonly string[]): boolean {
  const places = order.map((id) => ids.indexOf(id)).filter((place) => place >= 0);
  return places.some((place, index) => index > 0 && place < places[index - 1]!);
}
