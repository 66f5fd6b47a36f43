/** Reads a file to which programs append lines. */
import { existsSync, readFileSync } from 'node:fs';

/** The lines without the last one, if a program is still writing it. */
export const wholeLines = (path: string): string[] =>
  existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
