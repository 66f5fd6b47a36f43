/**
 * Reads the entries of an archive, one after the other, without unpacking any.
 *
 * Invariant: it reads nothing after the archive's own end, because a few megabytes of compressed zeros there
 * are gigabytes.
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { Parser, type ReadEntry } from 'tar';

/** Receives the entries of an archive. */
export interface ArchiveReader {
  /** True once the reader needs no more entries. */
  readonly done: boolean;
  /** To get the content, listen for `data` at once: it flows right after this call. */
  entry(entry: ReadEntry): void;
  /** An entry that this parser skips, although the VM's tar may unpack it. */
  ignoredEntry?(entry: ReadEntry): void;
  /** A header that changes the next entry. */
  meta?(text: string): void;
}

/**
 * Feeds the archive to the reader until the reader is done. Returns null, or why the archive cannot be read.
 * Rejects if the file cannot be read, and when aborted.
 */
export async function readArchive(
  archive: string | AsyncIterable<Buffer>,
  reader: ArchiveReader,
  signal: AbortSignal,
): Promise<string | null> {
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      reader.entry(entry);
      entry.resume();
    },
  });
  parser.on('ignoredEntry', (entry: ReadEntry) => reader.ignoredEntry?.(entry));
  parser.on('meta', (text: string) => reader.meta?.(text));
  let sawEnd = false;
  // Without this the parser would keep all later bytes in memory, and copy them at each step.
  parser.on('eof', () => {
    sawEnd = true;
    parser.abort(new Error('the end of the archive'));
  });
  let damage: string | null = null;
  parser.on('error', (error: Error) => {
    if (!sawEnd) damage ??= `not a readable tar archive: ${error.message}`;
  });
  const ended = once(parser, 'end', { signal }).catch(() => {});
  const chunks: AsyncIterable<Buffer> = typeof archive === 'string' ? createReadStream(archive, { signal }) : archive;
  for await (const chunk of chunks) {
    if (!parser.write(chunk) && !damage && !sawEnd)
      await Promise.race([once(parser, 'drain', { signal }), once(parser, 'abort', { signal }), ended]);
    if (reader.done || damage || sawEnd) break;
  }
  signal.throwIfAborted();
  if (!reader.done && !damage && !sawEnd) {
    parser.end();
    await ended;
  }
  return damage;
}
