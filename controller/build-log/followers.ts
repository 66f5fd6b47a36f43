/**
 * Holds the sockets of the followers of one log, and sends each of them the bytes that it asks for.
 *
 * Invariant: each follower gets each byte from its offset on once and in order. All state is in the
 * attachments of the sockets, so the object may hibernate between two messages.
 */
import type { ClosedLog } from './closed-log.ts';
import { asText, type LogSays, MESSAGE_MAX_BYTES } from './follower-messages.ts';

/** The bound keeps a flood of followers from slowing the appends. */
const FOLLOWERS_MAX = 1_000;
const KEY_ENDED_CODE = 4401;

interface Place {
  /** The offset of the next byte that this follower gets. */
  offset: number;
  /** True if it asked for bytes that are not there yet. */
  waits: boolean;
}

/** The part of the log that its followers need. */
interface FollowedLog {
  /** The stored bytes from `from` to before `to`; none once the log is emptied. */
  bytes(from: number, to: number): Uint8Array<ArrayBuffer>;
  closed(): ClosedLog | undefined;
}

export class Followers {
  readonly #state: DurableObjectState;
  readonly #log: FollowedLog;

  constructor(state: DurableObjectState, log: FollowedLog) {
    this.#state = state;
    this.#log = log;
  }

  /** How many follow the log now. */
  get count(): number {
    return this.#open().length;
  }

  /** Answers the request for a socket. Each socket carries its key's tag, by which a revocation finds it. */
  accept(offset: number, keyId: string): Response {
    if (this.count >= FOLLOWERS_MAX) return new Response('too many follow this log', { status: 503 });
    const { 0: outer, 1: inner } = new WebSocketPair();
    this.#state.acceptWebSocket(inner, [keyTag(keyId)]);
    place(inner, { offset, waits: false });
    return new Response(null, { status: 101, webSocket: outer });
  }

  /** Answers one follower that asked for the next bytes. */
  serve(socket: WebSocket): void {
    const { offset } = placeOf(socket);
    const bytes = this.#log.bytes(offset, offset + MESSAGE_MAX_BYTES);
    if (bytes.byteLength > 0) {
      place(socket, { offset: offset + bytes.byteLength, waits: false });
      socket.send(bytes);
      return;
    }
    const closed = this.#log.closed();
    place(socket, { offset, waits: !closed });
    say(socket, closed ? { type: 'closed', ...closed } : { type: 'waiting' });
  }

  /** Serves the followers that wait. Call it when the log has grown or was closed. */
  changed(): void {
    for (const socket of this.#open()) if (placeOf(socket).waits) this.serve(socket);
  }

  attemptEnded(): void {
    for (const socket of this.#open()) say(socket, { type: 'ended' });
  }

  /** Ends the following with these keys. */
  endKeys(keyIds: readonly string[]): void {
    for (const socket of keyIds.flatMap((id) => this.#open(keyTag(id)))) {
      // The text comes at once. The event of a close may come seconds later.
      say(socket, { type: 'key_ended' });
      socket.close(KEY_ENDED_CODE, 'the key was revoked');
    }
  }

  #open(tag?: string): WebSocket[] {
    return this.#state.getWebSockets(tag).filter(({ readyState }) => readyState === WebSocket.OPEN);
  }
}

const keyTag = (keyId: string): string => `key:${keyId}`;
const say = (socket: WebSocket, said: LogSays): void => socket.send(asText(said));
const place = (socket: WebSocket, at: Place): void => socket.serializeAttachment(at);
const placeOf = (socket: WebSocket): Place => socket.deserializeAttachment() as Place;
