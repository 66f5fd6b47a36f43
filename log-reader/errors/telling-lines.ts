/**
 * Picks the lines of a failed build's log that most likely tell why it failed. It is a guess, for builds of
 * whose error nothing is known. Pure.
 *
 * Invariant: at most ten lines come out, in the order of the log; what is held is bounded, however long the
 * log is.
 */
import { TELLING_LINES_MAX } from '#contract';
import { rawForm } from '../prefixes.ts';
import { createFailureNotes } from './failure-notes.ts';
import { isConsequence, isNextStep, isNoError, isSuccess } from './line-kinds.ts';

/** What ran before one of these did not fail it. */
const STARTS =
  /^(?:Command line invocation:|Build settings from command line:|yarn (?:install|run) v\d|Analyzing dependencies$)/;

export interface TellingLines {
  /** Takes the next line of the log. */
  push(line: string): void;
  lines(): string[];
}

export function tellingLines(log: Iterable<string>): string[] {
  const telling = createTellingLines();
  for (const line of log) telling.push(line);
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
