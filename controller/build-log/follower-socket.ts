/**
 * Holds the Worker's end of the socket to a live log.
 *
 * Invariant: the log sends bytes only after `ask`, so at most one message with bytes waits here.
 */
import { logObject } from './build-log.ts';
import { type LogSays, NEXT, parseSaid } from './follower-messages.ts';

/** `gone`: the socket broke, for example at a deployment. `quiet`: nothing came within the time. */
type Heard = Uint8Array<ArrayBuffer> | LogSays | { type: 'gone' } | { type: 'quiet' };

interface FollowerSocketOptions {
  buildId: string;
  attempt: number;
  /** The first byte that is wanted. */
  offset: number;
  keyId: string;
  /** Closes the socket. */
  signal: AbortSignal;
  /** Called at once, also while the reader is too slow to take what came before. */
  onKeyEnded: () => void;
}

export class FollowerSocket {
  readonly #socket: WebSocket;
  readonly #heard: Heard[] = [];
  #arrived = Promise.withResolvers<void>();

  constructor(socket: WebSocket, { signal, onKeyEnded }: Pick<FollowerSocketOptions, 'signal' | 'onKeyEnded'>) {
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => {
      const heard = typeof data === 'string' ? parseSaid(data) : new Uint8Array(data as ArrayBuffer);
      if ('type' in heard && heard.type === 'key_ended') onKeyEnded();
      this.#note(heard);
    });
    for (const end of ['close', 'error'] as const)
      socket.addEventListener(end, () => {
        this.close();
        this.#note({ type: 'gone' });
      });
    signal.addEventListener('abort', () => {
      this.close();
      this.#note({ type: 'gone' });
    });
    socket.accept();
    if (signal.aborted) this.close(); // while it was being opened
  }

  /** Rejects if the log cannot be reached. */
  static async open({ offset, keyId, ...options }: FollowerSocketOptions & { env: Env }): Promise<FollowerSocket> {
    const query = new URLSearchParams({ offset: String(offset), key: keyId });
    const { webSocket, status } = await logObject(options.env, options.buildId, options.attempt).fetch(
      `https://build-log/?${query}`,
      { headers: { Upgrade: 'websocket' } },
    );
    if (!webSocket) throw new Error(`the log of ${options.buildId} answered ${status} to a follower`);
    return new FollowerSocket(webSocket, options);
  }

  /** Asks for the next bytes. */
  ask(): void {
    this.#socket.send(NEXT);
  }

  async hear(waitMs: number): Promise<Heard> {
    if (this.#heard.length === 0) {
      const waited = new AbortController();
      await Promise.race([this.#arrived.promise, scheduler.wait(waitMs, { signal: waited.signal }).catch(() => {})]);
      waited.abort();
    }
    this.#arrived = Promise.withResolvers();
    return this.#heard.shift() ?? { type: 'quiet' };
  }

  close(): void {
    try {
      this.#socket.close(1000);
    } catch {
      // It is closed already.
    }
  }

  #note(heard: Heard): void {
    this.#heard.push(heard);
    this.#arrived.resolve();
  }
}
