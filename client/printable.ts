/**
 * The words of builds, VMs and controllers as one line for a terminal. Pure.
 * Invariant: nothing in them moves the cursor, changes a colour, begins a line, or turns the rest of the line around.
 */
import { stripVTControlCharacters } from 'node:util';

/** Control characters, line and paragraph separators, and marks of direction. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu;

export const printable = (text: string): string => stripVTControlCharacters(text).replace(UNPRINTABLE, ' ');

/** For what has lines of our own making. */
export const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');
