/**
 * Describes one known error of builds. The lists of known errors are data; explain-failure.ts reads them.
 */

/**
 * Lines around the line of the error that have more details. Their named captures are filled into the
 * sentences.
 */
export interface Near {
  where: 'above' | 'below';
  /** How many lines away explain-failure.ts searches. */
  within: number;
  pattern: RegExp;
  /** The line that counts if several match: the one nearest to the error, unless this says `furthest`. */
  takes?: 'furthest';
  /** The search stops at a line that matches this. */
  until?: RegExp;
  /** Without such a line this is not the error. */
  required?: true;
}

export interface KnownError {
  /** Stable; never reused. */
  id: string;
  /**
   * Is matched against one line without colours, phase, time and a formatter's mark (prefixes.ts). If the
   * tool prints a mark in front of the message (`error: `, `[!] `, `npm error `), the pattern includes it, so
   * that a line that only mentions the error does not match.
   */
  pattern: RegExp;
  near?: readonly Near[];
  /** An error of a compiler in a file. The first of these errors counts, because it causes the others. */
  compiler?: true;
  /** A build that continues can also print this. It counts only if the build stopped soon after it. */
  atEnd?: true;
  /** A missing secret can be the reason, so the explanation repeats what Tartbeat said before the install. */
  fetches?: true;
  /**
   * One sentence that says what happened. `$1` … and `$<name>` are replaced by the captures. A part in square
   * brackets is left out if one of its captures is missing.
   */
  sentence: string;
  /** One sentence that says what to do. */
  advice: string;
}
