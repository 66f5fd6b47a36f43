/**
 * Turns text from builds, VMs and controllers into one line that is safe in a terminal. Pure.
 *
 * Invariant: the result does not move the cursor, change a colour, begin a line, or reverse the rest of the
 * line.
 */
import { stripVTControlCharacters } from 'node:util';
import { UNPRINTABLE } from '#contract';

const UNPRINTABLES = new RegExp(`[${UNPRINTABLE}]+`, 'gu');

export const printable = (text: string): string => stripVTControlCharacters(text).replace(UNPRINTABLES, ' ');

/**
 * For the name of a file that a person should find again. It shows unprintable characters, such as `\\x1b`.
 */
export const escaped = (name: string): string =>
  name.replace(UNPRINTABLES, (text) =>
    Array.from(text, (one) => {
      const code = one.codePointAt(0)!;
      return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
    }).join(''),
  );

/** Keeps the line breaks. For text whose lines we made ourselves. */
export const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');
