/** Reads a text or JSON file of a project. A file that is absent or broken gives null. */
import type { ProjectFiles } from '../project-files.ts';

/** Null stands for a path that leads out of the source; see `pathIn`. */
export async function readText(files: ProjectFiles, path: string | null): Promise<string | null> {
  const bytes = path === null ? null : await files.read(path);
  return bytes === null ? null : bytes.toString('utf8').replace(/^\uFEFF/, '');
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

/** The value itself if it is an object, else an empty one, so that one can ask for its fields. */
export function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
