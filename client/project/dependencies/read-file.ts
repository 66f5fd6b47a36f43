/** Reads a text or JSON file of a project. A file that is absent or broken gives null. */
import type { ProjectFiles } from '../project-files.ts';

/**
 * Null stands for a path that leads out of the source; see `pathIn`. A longer file is cut off at `maxChars`.
 */
export async function readText(
  files: ProjectFiles,
  path: string | null,
  maxChars = Number.POSITIVE_INFINITY,
): Promise<string | null> {
  const bytes = path === null ? null : await files.read(path);
  return bytes === null
    ? null
    : bytes
        .toString('utf8')
        .replace(/^\uFEFF/, '')
        .slice(0, maxChars);
}

/** The line without a comment, which begins with a `#` after a blank or at the beginning. */
export function withoutComment(line: string): string {
  for (let at = line.indexOf('#'); at !== -1; at = line.indexOf('#', at + 1))
    if (at === 0 || /\s/.test(line[at - 1]!)) return line.slice(0, Math.max(0, at - 1));
  return line;
}

export async function readJson(files: ProjectFiles, path: string | null): Promise<unknown> {
  const text = await readText(files, path);
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The value itself if it is an object, else an empty object, so that a caller can read its fields. */
export function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
