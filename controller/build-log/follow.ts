/**
 * Streams a log to whoever follows it, until the build has ended.
 *
 * Invariant: a stream never outlives its key or its longest time, also if its reader takes nothing. It ends
 * cleanly with `end` or `reconnect`, and bare bytes only at the end of the log (follow-formats.ts).
 */
import { isMarkedEnded } from '../access/key-end-marks.ts';
import type { FollowFormat } from './follow-formats.ts';
import { type FollowOptions, type FollowPart, followParts } from './follow-parts.ts';
import { isSurelyAsked } from './revoked-followers.ts';

export interface Follower extends Pick<FollowOptions, 'log' | 'offset' | 'onlyThisAttempt' | 'times'> {
  key: { id: string; expiresAt: number | null };
  format: FollowFormat;
}

/**
 * A revocation closes the sockets of its key to the logs that it asks. A stream that has such a socket looks
 * for the mark only this seldom.
 */
const CHECKS_WITH_SOCKET = 15;
/** How often a stream asks D1 whether revocations ask its log. After that it looks often instead. */
const QUESTIONS_MAX = 2;

export function followLog(env: Env, { key, format, times, ...start }: Follower): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const stop = new AbortController();
  /** The attempt to whose log there is a socket. */
  let socketTo: number | null = null;
  /** The attempt whose log every revocation asks. */
  let askedOf: number | null = null;
  let questions = 0;
  let checks = 0;
  let output: ReadableStreamDefaultController<Uint8Array>;

  const write = (written: string | Uint8Array | null): boolean => {
    if (written === null || written.length === 0) return false;
    output.enqueue(typeof written === 'string' ? encoder.encode(written) : written);
    return true;
  };
  /** Ends the body with a last word. Without one it breaks off. */
  const finish = (last: string | null, why: string): void => {
    if (stop.signal.aborted) return;
    if (last === null) output.error(new Error(why));
    else {
      write(last);
      output.close();
    }
    cleanUp();
  };
  const cleanUp = () => {
    clearTimeout(bound);
    clearInterval(watch);
    stop.abort();
  };
  const reconnect = () => finish(format.reconnect(), 'the stream reached its bound before the end of the log');

  const untilExpiry = key.expiresAt === null ? Infinity : Math.max(key.expiresAt - Date.now(), 0);
  const bound = setTimeout(reconnect, Math.min(times.streamMaxMs, untilExpiry));
  const checkKey = async () => {
    const ended = await isMarkedEnded(env, key.id).catch(() => false);
    if (ended) reconnect();
  };
  const watch = setInterval(() => {
    const isTold = socketTo !== null && socketTo === askedOf;
    if (!isTold || ++checks % CHECKS_WITH_SOCKET === 0) void checkKey();
  }, times.keyCheckMs);
  const onSocket = (attempt: number | null) => {
    socketTo = attempt;
    if (attempt === null) return;
    // A revocation that came before the socket did not find it.
    void checkKey();
    void askWhetherTold(attempt);
  };
  const askWhetherTold = async (attempt: number) => {
    if (attempt === askedOf || ++questions > QUESTIONS_MAX) return;
    const isAsked = await isSurelyAsked(env, start.log.buildId, attempt).catch(() => false);
    if (isAsked) askedOf = attempt;
  };

  const parts = followParts(env, {
    ...start,
    keyId: key.id,
    times,
    signal: stop.signal,
    onKeyEnded: reconnect,
    onSocket,
  });
  /** True if something was written, or the body ended. */
  const take = (part: FollowPart): boolean => {
    switch (part.type) {
      case 'bytes':
        return write(format.bytes(part.attempt, part.offset, part.bytes));
      case 'attempt_over':
        return write(format.attemptOver());
      case 'quiet':
        return write(format.quiet());
      case 'bound':
        reconnect();
        return true;
      case 'end': {
        const { type: _, ...end } = part;
        finish(format.end(end), 'the end of the log did not come in time');
        return true;
      }
    }
  };

  return new ReadableStream<Uint8Array>({
    start(controller) {
      output = controller;
      write(format.greeting());
    },
    /** Each call writes once, so a reader that is slow also slows the questions. */
    async pull() {
      try {
        for (;;) {
          const { value, done } = await parts.next();
          if (done || stop.signal.aborted || take(value)) return;
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        console.error(JSON.stringify({ event: 'follow_failed', build: start.log.buildId, error: String(error) }));
        finish(null, 'the log cannot be followed');
      }
    },
    cancel: cleanUp,
  });
}
