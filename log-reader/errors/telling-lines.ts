/**
 * Guesses which lines of a failed build's log most likely show why it failed. The guess serves builds whose
 * error is not a known one. Pure.
 *
 * Invariant: it returns at most ten lines, in the order of the log. Its memory has a limit, however long the
 * log is.
 */
import { TELLING_LINES_MAX } from '#contract';
import { rawForm } from '../prefixes.ts';
import { failedPhase } from './failed-phase.ts';
import { createFailureNotes } from './failure-notes.ts';
import { isConsequence, isNextStep, isNoError, isSuccess } from './line-kinds.ts';

/** The steps before one of these lines did not fail the build. */
const STARTS =
  /^(?:Command line invocation:|Build settings from command line:|yarn (?:install|run) v\d|Analyzing dependencies$)/;

export interface TellingLines {
  /** Takes the next line of the log. */
  push(line: string): void;
  lines(): string[];
}

/** If Expo's engine says which phase failed, only the lines of that phase count. */
export function tellingLines(log: readonly string[]): string[] {
  const telling = createTellingLines();
  for (const line of failedPhase(log)?.lines ?? log) telling.push(line);
  return telling.lines();
}

export function createTellingLines(): TellingLines {
  let at = 0;
  let step: string | null = null;
  let notes = createFailureNotes(TELLING_LINES_MAX);

  return {
    push(printed) {
      at++;
      const line = rawForm(printed);
      const { easPhase, text } = line;
      if (easPhase !== null && easPhase !== step && isNextStep(easPhase)) {
        step = easPhase;
        notes = createFailureNotes(TELLING_LINES_MAX);
      }
      if (text === '') notes.closeBlock();
      else if (isSuccess(text) || STARTS.test(text)) notes = createFailureNotes(TELLING_LINES_MAX);
      else if (isConsequence(text)) notes.takeConsequence(line, at);
      else if (notes.listing || !isNoError(line)) notes.take(line, at);
    },

    lines: () => notes.choose(TELLING_LINES_MAX).map(({ text }) => text),
  };
}
