/** Defines the stream that a view writes to: standard output, or a stream of a test. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { CommandEnd } from '../../command-error.ts';
import { EXIT } from '../../exit-codes.ts';

export interface Output extends Writable {
  /** Set if it is a terminal. */
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

/** Resolves once the reader has taken the written text, or has ended. Rejects with the reason of `until`. */
export async function whenWritable(output: Output, until: AbortSignal): Promise<void> {
  if (!output.writableNeedDrain) return;
  const over = new AbortController();
  const signal = AbortSignal.any([until, over.signal]);
  await Promise.race([once(output, 'drain', { signal }), once(output, 'close', { signal })]).catch(() => {});
  over.abort();
  until.throwIfAborted();
}

/**
 * Aborts when the program that reads our output has ended, as `head` does. Its reason ends the command. The
 * stream does not keep such an error, so it must be caught when it happens.
 */
export function outputGone(): AbortSignal {
  const gone = new AbortController();
  process.stdout.once('error', () => gone.abort(new CommandEnd(EXIT.detached)));
  return gone.signal;
}
