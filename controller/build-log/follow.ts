/**
 * Follows a log as server-sent events, for a reader that wants each line as it is printed.
 *
 *   id: 1:4096                             attempt and offset after these bytes; Last-Event-ID resumes here
 *   data: {"attempt":1,"offset":4000,"bytes":96,"text":"…"}
 *
 *   event: end                             the attempt has ended and all of its log was sent
 *   data: {"attempt":1,"offset":4096,"complete":true}
 *
 * `text` is the bytes as UTF-8, never cut within a character, with U+FFFD for bytes that are not UTF-8. A
 * reader that needs the exact bytes reads them without following. A stream that closes without `end` has
 * reached its bound: connect again.
 */
import { type LogPart, type OpenLog, openLog, readLog } from './read.ts';

const POLL_MS = 400;
/**
 * On the free plan one request may call other objects 1,000 times and D1 50 times. These bounds stay below.
 */
export const FOLLOW_BOUNDS = { polls: 700, reopens: 40, ms: 10 * 60_000 };
/**
 * After so many quiet polls D1 is asked again: for a first claim, or for an end whose log was never closed.
 */
const REOPEN_AFTER_POLLS = { queued: 3, running: 12 };
const EVENT_MAX_BYTES = 256 * 1024;
/** After the end of an attempt its last bytes are waited for so long. */
const LAST_BYTES_MS = 10_000;

export function followLog(env: Env, opened: OpenLog, from: number, max = FOLLOW_BOUNDS): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });
  const startedAt = Date.now();
  const follower = crypto.randomUUID();
  let log = opened;
  let offset = from;
  /** The offset after all bytes that were seen, also those of a character that is not complete yet. */
  let seenBytes = -1;
  let polls = 0;
  let quietPolls = 0;
  let reopens = 0;

  return new ReadableStream<Uint8Array>({
    start(controller) {
      // Sent at once, so that the reader knows that it is connected. `retry` is how soon it connects again.
      controller.enqueue(encoder.encode('retry: 1000\n\n'));
    },
    /** Each call makes one event, one comment or the end, so a reader that is slow also slows the polls. */
    async pull(controller) {
      while (polls++ < max.polls && reopens <= max.reopens && Date.now() - startedAt < max.ms) {
        const wait = { bytes: seenBytes, ms: POLL_MS };
        const part = await readLog(env, log, offset, EVENT_MAX_BYTES, follower, wait);
        seenBytes = offset + part.bytes.byteLength;
        const atEnd = offset + part.bytes.byteLength >= part.length;
        const over = atEnd && isOver(log, part, Date.now());
        const bytes = over ? part.bytes : part.bytes.subarray(0, wholeCharacters(part.bytes));
        if (bytes.byteLength > 0) {
          const data = { attempt: log.attempt, offset, bytes: bytes.byteLength, text: decoder.decode(bytes) };
          offset += bytes.byteLength;
          quietPolls = 0;
          return controller.enqueue(encoder.encode(`id: ${log.attempt}:${offset}\ndata: ${JSON.stringify(data)}\n\n`));
        }
        if (over) {
          const complete = part.closed ? part.closed.complete : offset === log.totalLength;
          const data = { attempt: log.attempt, offset, complete };
          controller.enqueue(encoder.encode(`event: end\ndata: ${JSON.stringify(data)}\n\n`));
          return controller.close();
        }
        if (log.attempt === 0) await scheduler.wait(POLL_MS);
        if (++quietPolls < REOPEN_AFTER_POLLS[log.attempt === 0 ? 'queued' : 'running']) continue;
        quietPolls = 0;
        reopens++;
        const again = await openLog(env, log.buildId, log.attempt || undefined, follower);
        if (!again.ok) break;
        log = again;
        // A comment, because some proxies close a connection that stays silent.
        return controller.enqueue(encoder.encode(': still here\n\n'));
      }
      controller.close();
    },
    cancel() {
      polls = max.polls;
    },
  });
}

/** Whether a log that was read to its end has ended, as far as is known. */
function isOver(log: OpenLog, { length, closed }: LogPart, now: number): boolean {
  if (closed) return true;
  if (log.endedAt === null) return false;
  return (log.totalLength !== null && length >= log.totalLength) || now >= log.endedAt + LAST_BYTES_MS;
}

/**
 * Counts the bytes up to the last whole character. The start of a character that continues later is left out.
 */
export function wholeCharacters(bytes: Uint8Array): number {
  const longest = Math.min(3, bytes.byteLength);
  for (let back = 1; back <= longest; back++) {
    const byte = bytes[bytes.byteLength - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needs > back ? bytes.byteLength - back : bytes.byteLength;
  }
  return bytes.byteLength;
}
