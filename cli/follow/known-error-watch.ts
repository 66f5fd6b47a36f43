/**
 * Looks in the log of a build that still runs for an error that the catalogue knows.
 *
 * Invariant: an error counts only if two looks in a row find the same one. A tool may go on after such a
 * line, or succeed at its next try. Some lines are an error only at the end of a log.
 */
import type { FailureExplanation } from '#contract';
import { explainFailure, PHASE_FAILED } from '../../log-reader/errors/explain-failure.ts';
import { createLineReader } from '../../log-reader/lines.ts';

/** The most lines that explainFailure reads. */
const LINES_MAX = 4_000;

export class KnownErrorWatch {
  #attempt = 0;
  #reader = createLineReader();
  #lines: string[] = [];
  #suspected: string | null = null;

  push(text: string, attempt: number): void {
    if (attempt !== this.#attempt) {
      this.#attempt = attempt;
      this.#reader = createLineReader();
      this.#lines = [];
      this.#suspected = null;
    }
    this.#reader.push(Buffer.from(text), (line) => this.#lines.push(line));
    if (this.#lines.length > 2 * LINES_MAX) this.#lines = this.#lines.slice(-LINES_MAX);
  }

  /** Null if there is no known error, or if the last look did not find the same one. */
  look(): FailureExplanation | null {
    const explained = explainFailure(this.#lines.slice(-LINES_MAX));
    const found = explained && explained.id !== PHASE_FAILED ? explained : null;
    const same = found && `${found.id} ${found.line}`;
    const isCertain = same !== null && same === this.#suspected;
    this.#suspected = same;
    return isCertain ? found : null;
  }
}
