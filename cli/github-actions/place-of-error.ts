/**
 * Finds the file of the checkout that a line of a log is about. The build ran in another folder, so the end
 * of the path decides.
 *
 * Invariant: it names only a file that lies in the checkout, and no link leads there.
 */
import { lstatSync, realpathSync } from 'node:fs';
import { join, posix } from 'node:path';

export interface Place {
  /** Counts from the root of the checkout. */
  file: string;
  line: number;
  column?: number | undefined;
}

const FILE = String.raw`(?:file:\/\/)?([^\s:"'\`()]{1,400}\.[A-Za-z]{1,12})`;
/** `a/b.swift:1:2`, `a/b.ts(1,2)`, and of Babel `a/b.tsx: Unexpected token (1:2)`. */
const FORMS = [
  new RegExp(`${FILE}:(\\d{1,7})(?::(\\d{1,5}))?`),
  new RegExp(`${FILE}\\((\\d{1,7}),(\\d{1,5})\\)`),
  new RegExp(`${FILE}: .{0,300}\\((\\d{1,7}):(\\d{1,5})\\)`),
];

/** Null: the line names no file, or none that is here. */
export function placeOfError(text: string, root: string): Place | null {
  for (const form of FORMS) {
    const [, path, line, column] = form.exec(text.slice(0, 1_000)) ?? [];
    const file = path === undefined ? null : fileIn(root, path);
    if (file !== null) return { file, line: Number(line), column: column === undefined ? undefined : Number(column) };
  }
  return null;
}

const PARTS_MAX = 40;

/** The longest end of the path that is a file below `root`. */
function fileIn(root: string, path: string): string | null {
  const parts = posix.normalize(path).split('/').filter(Boolean).slice(-PARTS_MAX);
  if (parts.includes('..')) return null;
  const ends = parts.map((_, index) => parts.slice(index).join('/'));
  return ends.find((end) => isOwnFile(root, end)) ?? null;
}

function isOwnFile(root: string, end: string): boolean {
  try {
    const path = join(realpathSync(root), end);
    return lstatSync(path).isFile() && realpathSync(path) === path;
  } catch {
    return false;
  }
}
