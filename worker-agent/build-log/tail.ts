/** Reads the last lines of a file, whatever its size. */
import { open, stat } from 'node:fs/promises';

/**
 * The oldest line first. The first may be cut off, and the last is empty if the file ends with a line's end.
 * No lines if there is no such file.
 */
export async function tailOf(
  path: string,
  { lines, maxBytes }: { lines: number; maxBytes: number },
): Promise<string[]> {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  if (size === 0) return [];
  await using file = await open(path, 'r');
  const lengthBytes = Math.min(size, maxBytes);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(lengthBytes), 0, lengthBytes, size - lengthBytes);
  const text = buffer.subarray(0, bytesRead).toString('utf8');
  return text.split('\n').slice(-lines);
}
