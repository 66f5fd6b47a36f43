/** One error that builds are known to end with. The lists of these are data; explain-failure.ts reads them. */
export interface KnownError {
  /** Stable; never reused. */
  id: string;
  /**
   * Matched against one line without colours, phase and time. It names what the tool prints in front of the message
   * (`error: `, `[!] `, `npm error `) wherever the tool does, so that a line that only speaks of the error does not match.
   */
  pattern: RegExp;
  /** What happened, one sentence. `$1` … stand for what the pattern captured. */
  sentence: string;
  /** What to do about it, one sentence. */
  advice: string;
}
