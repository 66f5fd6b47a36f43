/**
 * Reads a JSON file of a project as Expo reads it: with comments, trailing commas, single quotes and names
 * without quotes.
 *
 * Invariant: for any content, it quickly returns a value or one sentence.
 */
import json5 from 'json5';
import { type Found, found, problem } from '../found.ts';
import type { ProjectFiles } from '../project-files.ts';
import { named, textOf } from './text.ts';

interface JsonLimits {
  maxBytes: number;
  /** How many objects and lists may lie within each other. */
  maxDepth: number;
}

/** Null if the file does not exist. */
export async function readJson(
  files: ProjectFiles,
  path: string,
  { maxBytes, maxDepth }: JsonLimits,
): Promise<Found<unknown> | null> {
  if (!files.paths.has(path)) return null;
  const bytes = await files.read(path);
  if (bytes === null || bytes.length > maxBytes)
    return problem(`${path} is larger than ${maxBytes / 1024} KiB. Put the right file in its place.`);
  const text = textOf(bytes);
  if (text === null) return problem(`${path} is not UTF-8 text. Save it as UTF-8.`);
  if (text.trim() === '') return problem(`${path} is empty. Write at least {} into it.`);
  const parsed = parse(text);
  if (!parsed.ok) return problem(`${path} is not valid JSON${parsed.where}. Correct it there.`);
  const wrong = findWrong(parsed.value, '', maxDepth);
  if (wrong === 'too deep') return problem(`${path} nests more than ${maxDepth} deep. Make it flatter.`);
  if (wrong !== null) return problem(`${path} has a field ${named(wrong)}. No field can have this name: remove it.`);
  return found(parsed.value);
}

function parse(text: string): { ok: true; value: unknown } | { ok: false; where: string } {
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    // The file may have comments. The second parser also knows the line of an error. Neither parser is
    // recursive, so deep nesting cannot overflow the stack.
  }
  try {
    return { ok: true, value: json5.parse(text) };
  } catch (error) {
    const { lineNumber, columnNumber } = error as { lineNumber?: number; columnNumber?: number };
    return { ok: false, where: lineNumber === undefined ? '' : ` at line ${lineNumber}, column ${columnNumber}` };
  }
}

/** The path of a field with the name `__proto__`, or `too deep` if the value nests too deep. */
function findWrong(value: unknown, at: string, depthLeft: number): string | null {
  if (typeof value !== 'object' || value === null) return null;
  if (depthLeft === 0) return 'too deep';
  for (const [key, inner] of Object.entries(value)) {
    const path = at === '' ? key : `${at}.${key}`;
    if (key === '__proto__') return path;
    const deeper = findWrong(inner, path, depthLeft - 1);
    if (deeper !== null) return deeper;
  }
  return null;
}
