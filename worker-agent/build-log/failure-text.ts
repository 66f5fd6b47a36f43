/**
 * Finds out what the log of a failed command tells, and takes the secrets out of it. Pure.
 *
 * The log is read as the build printed it, because a masked word may be the one that an error is known by.
 *
 * Invariant: no secret of the build comes out, nor a piece of one at which a text was cut.
 */
import type { FailureExplanation } from '#contract';
import { explainFailure, PHASE_FAILED } from '../../log-reader/errors/explain-failure.ts';
import { tellingLines } from '../../log-reader/errors/telling-lines.ts';
import { maskPieces, maskText } from './mask.ts';

/** The first error of a compiler may stand far above the end of the log. */
export const TOLD_LINES = 20_000;
export const TOLD_MAX_BYTES = 4 * 1024 * 1024;

/** The known error in the log. If there is none, or if only the phase is known, a guess. */
export interface FromLog {
  explained?: FailureExplanation | undefined;
  tellingLines?: string[] | undefined;
}

/** `lines` are the last lines of the log, not masked. `needles` are the secrets in them. */
export function toldBy(lines: readonly string[], needles: readonly Buffer[]): FromLog {
  const masked = needles.length === 0 ? lines : maskText(needles, lines.join('\n')).split('\n');
  const explained = explainedBy(lines, masked, needles);
  if (explained && explained.id !== PHASE_FAILED) return { explained };
  return { ...(explained && { explained }), tellingLines: guessedFrom(lines, masked, needles) };
}

// Texts that come from masked lines need no further look: no secret was there when they were cut.

function explainedBy(
  lines: readonly string[],
  masked: readonly string[],
  needles: readonly Buffer[],
): FailureExplanation | null {
  const explained = explainFailure(lines);
  if (!explained || needles.length === 0) return explained;
  const again = explainFailure(masked);
  if (again?.id === explained.id && again.line === maskText(needles, explained.line)) return again;
  const { id, sentence, advice, line } = explained;
  const pieces = (text: string) => maskPieces(needles, text);
  return { id, sentence: pieces(sentence), advice: pieces(advice), line: pieces(line) };
}

function guessedFrom(lines: readonly string[], masked: readonly string[], needles: readonly Buffer[]): string[] {
  const told = tellingLines(lines);
  if (needles.length === 0) return told;
  const again = tellingLines(masked);
  const same = told.length === again.length && told.every((line, at) => maskText(needles, line) === again[at]);
  return same ? again : told.map((line) => maskPieces(needles, line));
}
