/**
 * Finds what a follower gets next: the bytes of one attempt after the other, until the build has ended.
 *
 * Invariant: it yields each byte from the start on once and in order, and `end` only after the last one.
 *
 * A live log sends its bytes over a socket. A build in the queue is looked up only in D1, and a sealed log is
 * read only from R2, so that neither wakes an object.
 */
import type { FollowTimes } from '../settings.ts';
import type { FollowEnd } from './follow-formats.ts';
import { MESSAGE_MAX_BYTES } from './follower-messages.ts';
import { FollowerSocket } from './follower-socket.ts';
import { type FoundLog, findLog, type OpenLog, readLog } from './read.ts';
import { toSegmentEnd } from './segments.ts';

export type FollowPart =
  | { type: 'bytes'; attempt: number; offset: number; bytes: Uint8Array<ArrayBuffer> }
  /** The attempt has no more bytes. */
  | { type: 'attempt_over' }
  | { type: 'quiet' }
  /** The stream has asked D1 as often as it may. */
  | { type: 'bound' }
  | ({ type: 'end' } & FollowEnd);

export interface FollowOptions {
  log: OpenLog;
  /** The first byte that is wanted. */
  offset: number;
  /** True to end with this attempt, although the build may go on with another. */
  onlyThisAttempt: boolean;
  keyId: string;
  times: FollowTimes;
  signal: AbortSignal;
  onKeyEnded: () => void;
  /** Called with the attempt to whose log a socket was opened, and with null when it was closed. */
  onSocket: (attempt: number | null) => void;
}

/**
 * On the free plan one request may ask D1 50 times. The authorisation and the opening need up to eight, and
 * follow-bounds.ts two.
 */
const LOOKS_MAX = 40;
const FIRST_PAUSE_MS = 1_000;
/** How often D1 is asked about a quiet attempt, in case the message about its end was lost. */
const LOOK_WHILE_QUIET_MS = 60_000;

/** How the log of one attempt ended for its follower. */
type Over = Pick<FollowEnd, 'complete' | 'certain'>;

class Bound extends Error {}

export async function* followParts(env: Env, options: FollowOptions): AsyncGenerator<FollowPart> {
  try {
    yield* new Following(env, options).parts();
  } catch (error) {
    if (!(error instanceof Bound)) throw error;
    yield { type: 'bound' };
  }
}

class Following {
  readonly #env: Env;
  readonly #options: FollowOptions;
  #log: FoundLog;
  #offset: number;
  #looks = 0;

  constructor(env: Env, options: FollowOptions) {
    this.#env = env;
    this.#options = options;
    this.#log = options.log;
    this.#offset = options.offset;
  }

  async *parts(): AsyncGenerator<FollowPart> {
    for (;;) {
      const over = this.#log.attempt === 0 ? { complete: true, certain: true } : yield* this.#attempt();
      const next = this.#options.onlyThisAttempt ? null : yield* this.#nextAttempt();
      if (next === null) return yield { type: 'end', attempt: this.#log.attempt, offset: this.#offset, ...over };
      await this.#look(next);
      this.#offset = 0;
    }
  }

  /** Waits for the attempt after the current one. Null if the build has ended without another. */
  async *#nextAttempt(): AsyncGenerator<FollowPart, number | null> {
    const { queuePauseMaxMs } = this.#options.times;
    const { attempt } = this.#log;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, queuePauseMaxMs)) {
      const { newestAttempt, buildEndedAt } = this.#log;
      if (newestAttempt > attempt) return attempt + 1;
      if (buildEndedAt !== null) return null;
      await this.#pause(Math.min(pauseMs, queuePauseMaxMs));
      yield { type: 'quiet' };
      await this.#look(attempt);
    }
  }

  async *#attempt(): AsyncGenerator<FollowPart, Over> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, this.#options.times.queuePauseMaxMs)) {
      const { sealed } = this.#log;
      const over = sealed ? yield* this.#sealed(sealed) : yield* this.#live();
      if (over) {
        yield { type: 'attempt_over' };
        // The build may have gone on, or ended, since D1 was asked.
        if (this.#log.buildEndedAt === null) await this.#look(this.#log.attempt);
        return over;
      }
      await this.#pause(pauseMs);
      yield { type: 'quiet' };
      await this.#look(this.#log.attempt);
    }
  }

  /** Unpacks each segment once. */
  async *#sealed({ length, complete }: { length: number; complete: boolean }): AsyncGenerator<FollowPart, Over> {
    const log = { ...this.#log, sealed: { length, complete } };
    while (this.#offset < length) {
      const { bytes } = await readLog(this.#env, log, this.#offset, toSegmentEnd(this.#offset));
      for (let at = 0; at < bytes.byteLength; at += MESSAGE_MAX_BYTES)
        yield this.#bytes(bytes.subarray(at, at + MESSAGE_MAX_BYTES));
    }
    return { complete, certain: true };
  }

  /** Null if the socket is lost or could not be opened. The caller then looks where the log is now. */
  async *#live(): AsyncGenerator<FollowPart, Over | null> {
    const { keyId, times, signal, onKeyEnded, onSocket } = this.#options;
    const { buildId, attempt } = this.#log;
    const options = { env: this.#env, buildId, attempt, offset: this.#offset, keyId, signal, onKeyEnded };
    const socket = await FollowerSocket.open(options).catch((error: unknown) => {
      console.warn(JSON.stringify({ event: 'log_not_followed', build: buildId, attempt, error: String(error) }));
      return null;
    });
    if (!socket) return null;
    onSocket(attempt);
    try {
      socket.ask();
      let hasAll = false;
      for (let lookedAt = Date.now(); ; ) {
        if (hasAll && this.#isOver())
          return { complete: this.#offset === this.#log.totalLength, certain: this.#isWhole() };
        const untilOver = this.#log.endedAt === null ? Infinity : this.#log.endedAt + times.lastBytesMs - Date.now();
        const heard = await socket.hear(Math.min(times.keepAliveMs, Math.max(untilOver, 1)));
        if (heard instanceof Uint8Array) {
          hasAll = false;
          yield this.#bytes(heard);
          socket.ask();
          continue;
        }
        if (heard.type === 'closed') return yield* this.#sealed(heard);
        if (heard.type === 'gone' || heard.type === 'key_ended') return null;
        if (heard.type === 'waiting') hasAll = true;
        if (heard.type === 'quiet') yield { type: 'quiet' };
        if (heard.type === 'ended' || Date.now() - lookedAt >= LOOK_WHILE_QUIET_MS) {
          await this.#look(attempt);
          lookedAt = Date.now();
        }
      }
    } finally {
      socket.close();
      onSocket(null);
    }
  }

  /** Whether the attempt has ended and we wait for no more bytes. Call it when all stored bytes were read. */
  #isOver(): boolean {
    const { endedAt } = this.#log;
    if (endedAt === null) return false;
    return this.#isWhole() || Date.now() >= endedAt + this.#options.times.lastBytesMs;
  }

  #isWhole(): boolean {
    return this.#log.totalLength !== null && this.#offset >= this.#log.totalLength;
  }

  #bytes(bytes: Uint8Array<ArrayBuffer>): FollowPart {
    const offset = this.#offset;
    this.#offset += bytes.byteLength;
    return { type: 'bytes', attempt: this.#log.attempt, offset, bytes };
  }

  /** Asks D1 for the attempt; 0 for the newest one. */
  async #look(attempt: number): Promise<void> {
    if (++this.#looks > LOOKS_MAX) throw new Bound();
    const found = await findLog(this.#env, this.#log.buildId, attempt || undefined);
    if (!found.ok) throw new Error(found.message);
    this.#log = found;
  }

  /** Throws if the stream ends meanwhile. */
  async #pause(ms: number): Promise<void> {
    const { signal } = this.#options;
    await scheduler.wait(ms, { signal }).catch(() => {});
    signal.throwIfAborted();
  }
}
