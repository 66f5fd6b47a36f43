/**
 * Reads and writes one JSON file of the agent.
 *
 * Invariant: a file is either whole or absent, even if the power fails.
 */
import { readFile } from 'node:fs/promises';
import writeFileAtomic from 'write-file-atomic';
import type { z } from 'zod';
import { orForbidden } from './forbidden.ts';

/** Resolves once the file is on disk. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(value)}\n`, { mode: 0o600, fsync: true });
}

/** Null if the file does not exist, or if its content does not match `schema`. */
export async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | null> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || code === 'ENOENT') return null;
    throw orForbidden(error);
  }
}
