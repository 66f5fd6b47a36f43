/** Where a view writes: standard output, or what a test gives. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';

export interface Output extends Writable {
  /** Set if it is a terminal. */
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

/** Resolves once the reader has taken what was written, or is gone. */
export async function whenWritable(output: Output): Promise<void> {
  if (!output.writableNeedDrain) return;
  const over = new AbortController();
  const { signal } = over;
  await Promise.race([once(output, 'drain', { signal }), once(output, 'close', { signal })]).catch(() => {});
  over.abort();
}
