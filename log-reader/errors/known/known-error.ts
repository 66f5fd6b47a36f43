/**
 * Describes one error that builds are known to end with. The lists of these are data; explain-failure.ts
 * reads them.
 */

/**
 * Lines around the one that tells, which say more of it. What they capture by name is filled into the
 * sentences.
 */
export interface Near {
  where: 'above' | 'below';
  /** How many lines away they are looked for. */
  within: number;
  pattern: RegExp;
  /** The line that counts if several match: the one nearest to the error, unless this says `furthest`. */
  takes?: 'furthest';
  /** Nothing is looked for beyond a line that matches this. */
  until?: RegExp;
  /** Without such a line the error is another one. */
  required?: true;
}

export interface KnownError {
  /** Stable; never reused. */
  id: string;
  /**
   * Matched against one line without colours, phase, time and a formatter's mark (prefixes.ts). It names what
   * the tool prints in front of the message (`error: `, `[!] `, `npm error `) wherever the tool does, so that
   * a line that only speaks of the error does not match.
   */
  pattern: RegExp;
  near?: readonly Near[];
  /** A compiler says it of a file. Of all such errors the first counts, which causes the others. */
  compiler?: true;
  /** Builds that go on print it too. It counts only if the build stopped soon after it. */
  atEnd?: true;
  /**
   * What happened, one sentence. `$1` … and `$<name>` stand for what was captured. A part in square brackets
   * is left out if something that it names was not captured.
   */
  sentence: string;
  /** What to do about it, one sentence. */
  advice: string;
}
