/**
 * A log as server-sent events, for a reader that wants each line as it comes.
 *
 *   id: 1:4096                                     attempt, and the offset after these bytes: what Last-Event-ID resumes at
 *   data: {"attempt":1,"offset":4000,"bytes":96,"text":"…"}
 *
 *   event: end                                     the attempt has ended and all of its log was sent
 *   data: {"attempt":1,"offset":4096,"complete":true}
 *
 * `text` is the bytes as UTF-8, never cut within a character, with U+FFFD for what is not UTF-8; whoever needs the exact bytes
 * reads them without following. A stream that closes without `end` has reached its own bound: connect again.
 */
import { type LogPart, type OpenLog, openLog, readLog } from './read.ts';

const POLL_MS = 400;
/** A Worker on the free plan may call other objects 1,000 times a request, and D1 50 times: these stay below. */
export const FOLLOW_LIMITS = { polls: 700, reopens: 40, ms: 10 * 60_000 };
/** D1 knows of an attempt's first claim, and of an end after which its log was not closed; seen after so many quiet polls. */
const REOPEN_AFTER_POLLS = { queued: 3, running: 12 };
const EVENT_MAX_BYTES = 256 * 1024;
/** For how long after the end of an attempt its last bytes are waited for. */
const LAST_BYTES_MS = 10_000;

export function followLog(env: Env, opened: OpenLog, from: number, max = FOLLOW_LIMITS): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });
  const startedAt = Date.now();
  const follower = crypto.randomUUID();
  let log = opened;
  let offset = from;
  /** Up to where bytes were seen, a character's beginning included. */
  let seenBytes = -1;
  let polls = 0;
  let quietPolls = 0;
  let reopens = 0;

  return new ReadableStream<Uint8Array>({
    start(controller) {
      // At once, so that the reader sees the connection stand; `retry` is how soon it comes back.
      controller.enqueue(encoder.encode('retry: 1000\n\n'));
    },
    /** One event, comment, or the end for each call: the stream's own back-pressure holds a slow reader's polls. */
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
        // Some proxies close a connection that is silent for long.
        return controller.enqueue(encoder.encode(': still here\n\n'));
      }
      controller.close();
    },
    cancel() {
      polls = max.polls;
    },
  });
}

/** Whether a log that was read to its end will not grow any more, as far as anyone knows. */
function isOver(log: OpenLog, { length, closed }: LogPart, now: number): boolean {
  if (closed) return true;
  if (log.endedAt === null) return false;
  return (log.totalLength !== null && length >= log.totalLength) || now >= log.endedAt + LAST_BYTES_MS;
}

/** How many of the bytes end with a whole character: all but the start of one that goes on after them. */
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
