/**
 * Splits the output of `log follow` into frames, which vm-image/guest/log.sh describes.
 *
 * Invariant: a frame comes out whole or not at all. The memory is bounded by the longest frame that is
 * allowed, and nothing is read before somebody asks for the next frame.
 */

/** How often `log follow` looks at the build and its log. */
export const LOOK_MS = 250;
/** The same limit as in log.sh. Enough for a burst of 20 MB/s with some frames a second. */
export const LOG_FRAME_MAX_BYTES = 4 * 1024 * 1024;
const MAX_BYTES = { status: 4_096, log: LOG_FRAME_MAX_BYTES } as const;
const HEAD_MAX_BYTES = 32;
const LINE_FEED = 10;

export interface Frame {
  kind: keyof typeof MAX_BYTES;
  bytes: Buffer;
}

/** Another program has printed its own text in place of a frame. */
export class FrameError extends Error {
  override name = 'FrameError';
}

/** `read` gives null at the end. A frame that is cut off there is dropped. */
export async function* framesOf(read: () => Promise<Buffer | null>): AsyncGenerator<Frame, undefined> {
  const input = new Input(read);
  for (;;) {
    const head = await input.line();
    if (head === null) return;
    const [, kind, length] = /^(status|log) (\d{1,7})$/.exec(head) ?? [];
    if (kind === undefined || Number(length) > MAX_BYTES[kind as Frame['kind']])
      throw new FrameError(`it printed ${JSON.stringify(head)} where a frame begins`);
    const bytes = await input.take(Number(length));
    if (bytes === null) return;
    yield { kind: kind as Frame['kind'], bytes };
  }
}

class Input {
  readonly #read: () => Promise<Buffer | null>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(read: () => Promise<Buffer | null>) {
    this.#read = read;
  }

  /** The next line without its end. Null if no whole line is left. A line that is too long is cut. */
  async line(): Promise<string | null> {
    for (;;) {
      const end = this.#rest.indexOf(LINE_FEED);
      if (end < 0 && this.#rest.length <= HEAD_MAX_BYTES) {
        const more = await this.#read();
        if (more === null) return null;
        this.#rest = Buffer.concat([this.#rest, more]);
        continue;
      }
      const line = this.#rest.subarray(0, end < 0 ? HEAD_MAX_BYTES : Math.min(end, HEAD_MAX_BYTES));
      this.#rest = this.#rest.subarray(end + 1);
      return line.toString('latin1');
    }
  }

  /** Null if the input ends before so many bytes have come. */
  async take(lengthBytes: number): Promise<Buffer | null> {
    const parts = [this.#rest];
    let haveBytes = this.#rest.length;
    while (haveBytes < lengthBytes) {
      const more = await this.#read();
      if (more === null) return null;
      parts.push(more);
      haveBytes += more.length;
    }
    const all = parts.length === 1 ? this.#rest : Buffer.concat(parts);
    this.#rest = all.subarray(lengthBytes);
    return all.subarray(0, lengthBytes);
  }
}
