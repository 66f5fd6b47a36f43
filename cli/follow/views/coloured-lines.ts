/**
 * Makes lines of a log ready for a terminal: each line begins with the colours that the lines before it have
 * left open, and ends without any. So something else may stand between two of them. Pure.
 */
import { RESET_COLOURS } from '../../../client/terminal-filter.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: the beginning of a colour
const COLOUR = /\x1b\[[0-9;:]*m/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: an order that ends all colours
const RESET = /^\x1b\[[0;:]*m$/;
/** No log needs more. A log that never ends a colour must not make each line longer. */
const OPEN_MAX = 16;
const DRAWN_MAX_CHARS = 2_000;

export class ColouredLines {
  #open: string[] = [];

  /**
   * A tool that redraws its line ends each version with a carriage return. Only the last version is shown.
   */
  line(text: string): string {
    const redrawn = text.replace(/\r+$/, '');
    const shownFrom = redrawn.lastIndexOf('\r') + 1;
    this.#learn(redrawn.slice(0, shownFrom));
    const before = this.#open.join('');
    const shown = redrawn.slice(shownFrom);
    this.#learn(shown);
    return before === '' && !shown.includes('\x1b') ? shown : `${before}${shown}${RESET_COLOURS}`;
  }

  #learn(text: string): void {
    for (const [colour] of text.matchAll(COLOUR)) {
      if (RESET.test(colour)) this.#open = [];
      else if (this.#open.push(colour) > OPEN_MAX) this.#open.shift();
    }
  }
}

/** The unfinished line, for a place where it is drawn again and again. */
export const withoutColours = (text: string): string =>
  text
    .slice(text.replace(/\r+$/, '').lastIndexOf('\r') + 1)
    .replace(COLOUR, '')
    .replace(/[\t\r]/g, ' ')
    .slice(0, DRAWN_MAX_CHARS);
