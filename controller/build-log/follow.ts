/**
 * Streams a log to a follower, until the build has ended.
 *
 * Invariant: a stream never outlives its key or its longest time, even if its reader takes nothing. It ends
 * cleanly with `end` or `reconnect`, and bare bytes only at the end of the log (follow-formats.ts).
 */
import { type FollowerKey, watchBounds } from './follow-bounds.ts';
import type { FollowFormat } from './follow-formats.ts';
import { type FollowOptions, type FollowPart, followParts } from './follow-parts.ts';

interface Follower extends Pick<FollowOptions, 'log' | 'offset' | 'onlyThisAttempt' | 'times'> {
  key: FollowerKey;
  format: FollowFormat;
}

export function followLog(env: Env, { key, format, times, ...start }: Follower): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const stop = new AbortController();
  let output: ReadableStreamDefaultController<Uint8Array>;

  const write = (written: string | Uint8Array | null): boolean => {
    if (written === null || written.length === 0) return false;
    output.enqueue(typeof written === 'string' ? encoder.encode(written) : written);
    return true;
  };
  const cleanUp = () => {
    bounds.stop();
    stop.abort();
  };
  /** Ends the body with `last`. If that is null, the body breaks off. */
  const finish = (last: string | null, why: string): void => {
    if (stop.signal.aborted) return;
    if (last === null) output.error(new Error(why));
    else {
      write(last);
      output.close();
    }
    cleanUp();
  };
  const reconnect = () => finish(format.reconnect(), 'the stream reached its bound before the end of the log');

  const bounds = watchBounds(env, { key, buildId: start.log.buildId, times }, reconnect);
  const parts = followParts(env, {
    ...start,
    keyId: key.id,
    times,
    signal: stop.signal,
    onKeyEnded: reconnect,
    onSocket: bounds.onSocket,
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
    /** Each call writes once, so a slow reader also slows the questions to D1. */
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
