/** Reads the last lines of a file, whatever its size. */
import { type FileHandle, open } from 'node:fs/promises';

interface Limits {
  lines: number;
  maxBytes: number;
}

/**
 * The oldest line first. The first may be cut off, and the last is empty if the file ends with a line's end.
 * No lines if there is no such file.
 */
export async function tailOf(path: string, limits: Limits): Promise<string[]> {
  await using file = await open(path, 'r').catch(() => null);
  return file ? await tailBefore(file, (await file.stat()).size, limits) : [];
}

/** The last lines before `endByte`, as tailOf gives them. */
export async function tailBefore(file: FileHandle, endByte: number, { lines, maxBytes }: Limits): Promise<string[]> {
  const lengthBytes = Math.min(endByte, maxBytes);
  if (lengthBytes === 0) return [];
  const { buffer, bytesRead } = await file.read(Buffer.alloc(lengthBytes), 0, lengthBytes, endByte - lengthBytes);
  const text = buffer.subarray(0, bytesRead).toString('utf8');
  return text.split('\n').slice(-lines);
}
