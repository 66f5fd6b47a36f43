/**
 * Says what was found in a project: a value, with lines for the log, or the one problem that ends the build.
 */

export type Found<T> =
  /** The notes are whole lines for the log. */
  | { ok: true; value: T; notes: string[] }
  /** One sentence that names the file, the field and the fix. */
  | { ok: false; problem: string };

export const found = <T>(value: T, notes: string[] = []): Found<T> => ({ ok: true, value, notes });

export const problem = (text: string): { ok: false; problem: string } => ({ ok: false, problem: text });
