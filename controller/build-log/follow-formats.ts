/**
 * Writes what a follower gets, as server-sent events or as the bare bytes. Pure.
 *
 *   id: 1:4096                             attempt and offset after these bytes; Last-Event-ID resumes here
 *   data: {"attempt":1,"offset":4000,"bytes":96,"text":"…"}
 *
 *   event: end                             the build has ended and all of its log was sent
 *   data: {"attempt":1,"offset":4096,"complete":true}
 *
 *   event: reconnect                       the stream has reached its bound: connect again
 *   data: {"attempt":1,"offset":4096}
 *
 * `text` is the bytes as UTF-8, never cut within a character, with U+FFFD for bytes that are not UTF-8.
 *
 * Bare bytes cannot say that the log has ended. So the body ends cleanly only at the end of the log. If it
 * must stop before that, it breaks off.
 */

export interface FollowFormat {
  contentType: string;
  /** Sent at once, so that the reader knows that it is connected. */
  greeting(): string | null;
  bytes(attempt: number, offset: number, bytes: Uint8Array<ArrayBuffer>): Written | null;
  /** Called when an attempt has no more bytes, and before the end. */
  attemptOver(): Written | null;
  /** A sign of life. */
  quiet(): string | null;
  /** Null: the body breaks off. */
  end(end: FollowEnd): string | null;
  /** Null: the body breaks off. */
  reconnect(): string | null;
}

type Written = string | Uint8Array<ArrayBuffer>;

export interface FollowEnd {
  attempt: number;
  offset: number;
  complete: boolean;
  /** False if the end of the log did not come in time, but may still come. */
  certain: boolean;
}

/** @param start where the reader begins */
export function asEvents(start: { attempt: number; offset: number }): FollowFormat {
  const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });
  /** The unsent start of a character, and the offset after the last byte that was sent. */
  let held = new Uint8Array();
  let { attempt, offset } = start;

  const event = (bytes: Uint8Array<ArrayBuffer>): string | null => {
    if (bytes.byteLength === 0) return null;
    const data = { attempt, offset, bytes: bytes.byteLength, text: decoder.decode(bytes) };
    offset += bytes.byteLength;
    return `id: ${attempt}:${offset}\ndata: ${JSON.stringify(data)}\n\n`;
  };

  return {
    contentType: 'text/event-stream; charset=utf-8',
    // `retry` is how soon the reader connects again.
    greeting: () => 'retry: 1000\n\n',
    bytes(ofAttempt, at, bytes) {
      attempt = ofAttempt;
      offset = at - held.byteLength;
      const all = joined(held, bytes);
      const whole = wholeCharacters(all);
      held = all.slice(whole);
      return event(all.subarray(0, whole));
    },
    attemptOver() {
      const rest = held;
      held = new Uint8Array();
      return event(rest);
    },
    // Readers of server-sent events ignore this comment.
    quiet: () => ': still here\n\n',
    end: ({ certain: _, ...end }) => `event: end\ndata: ${JSON.stringify(end)}\n\n`,
    reconnect: () => `event: reconnect\ndata: ${JSON.stringify({ attempt, offset })}\n\n`,
  };
}

export const asBytes = (): FollowFormat => ({
  contentType: 'text/plain; charset=utf-8',
  greeting: () => null,
  bytes: (_attempt, _offset, bytes) => bytes,
  attemptOver: () => null,
  quiet: () => null,
  end: ({ certain }) => (certain ? '' : null),
  reconnect: () => null,
});

function joined(first: Uint8Array<ArrayBuffer>, second: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (first.byteLength === 0) return second;
  const both = new Uint8Array(first.byteLength + second.byteLength);
  both.set(first);
  both.set(second, first.byteLength);
  return both;
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
