/**
 * Brings the last lines of a failed build to their raw form. Leaves out the lines before a later success or
 * before a later phase of EAS, because they did not fail the build. Pure.
 */
import { type RawLine, rawForm } from '../prefixes.ts';
import { isNextStep, isNoError, isSuccess } from './line-kinds.ts';

export interface FailingLine {
  /** The line in the tool's own form. */
  text: string;
  /** As it was printed, without colours, phase and time. */
  printed: string;
  /** False for a warning, a traced command and an empty line: such a line explains nothing. */
  tells: boolean;
}

/** Expo's formatter prints where a compiler stopped, then the code, then the message under a caret. */
const PLACE = /^error: \(([^()":]+:\d+:\d+)\)$/;
const CARET = /^(?:\d*\s*\|)?\s*\^+ (.+)$/;
const CODE_LINES_MAX = 10;

/** Oldest first. */
export function failingLines(lastLines: readonly string[]): FailingLine[] {
  const raw = lastLines.map(rawForm);
  const step = currentStep(raw);
  const from = raw.findLastIndex(({ text }, index) => index >= step && isSuccess(text)) + 1;
  return raw.slice(Math.max(from, step)).map((line, index, rest) => {
    const text = joined(line.text, rest, index);
    return { text, printed: line.printed, tells: text !== '' && !isNoError({ ...line, text }) };
  });
}

/** The index at which the last phase of EAS begins that can have failed the build. */
function currentStep(lines: readonly RawLine[]): number {
  const last = lines.findLast(({ easPhase }) => easPhase !== null && isNextStep(easPhase))?.easPhase;
  return last === undefined ? 0 : lines.findIndex(({ easPhase }) => easPhase === last);
}

function joined(text: string, lines: readonly RawLine[], index: number): string {
  const place = PLACE.exec(text);
  if (!place) return text;
  for (const { text: below } of lines.slice(index + 1, index + 1 + CODE_LINES_MAX)) {
    const message = CARET.exec(below);
    if (message) return `${place[1]}: error: ${message[1]}`;
    if (PLACE.test(below)) break;
  }
  return `${place[1]}: error: `;
}
