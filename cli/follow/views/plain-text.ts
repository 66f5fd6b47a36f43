/**
 * Makes the log of a build plain, for a file, a pipe, or the log of a CI job: text, line breaks and tabs.
 *
 * Invariant: no other control character comes out, however the text was cut into pieces. A carriage return
 * ends a line like a line break, because tools redraw their progress with it.
 */
import { TerminalFilter } from '../../../client/terminal-filter.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are removed
const NOT_PLAIN = /\x1b\[[0-9;:]*m|[\x07\b]/g;

export class PlainText {
  readonly #filter = new TerminalFilter();
  /** A return at the end of a piece, which may belong to the line break of the next one. */
  #heldReturn = '';

  push(text: string): string {
    const all = this.#heldReturn + this.#filter.pushText(text).replace(NOT_PLAIN, '');
    const end = all.length - (/\r+$/.exec(all)?.[0].length ?? 0);
    this.#heldReturn = end < all.length ? '\r' : '';
    return all.slice(0, end).replace(/\r+\n?/g, '\n');
  }
}
