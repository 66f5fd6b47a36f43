/**
 * Turns text from builds, VMs and controllers into one line that is safe in a terminal. Pure.
 *
 * Invariant: the result does not move the cursor, change a colour, begin a line, or reverse the rest of the
 * line.
 */
import { stripVTControlCharacters } from 'node:util';

/** Control characters, line and paragraph separators, and marks of direction. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu;

export const printable = (text: string): string => stripVTControlCharacters(text).replace(UNPRINTABLE, ' ');

/** Keeps the line breaks. For text whose lines we made ourselves. */
export const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');
