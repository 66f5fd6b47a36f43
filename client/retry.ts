/**
 * Waits and retries. The agent has no other code for this.
 *
 * Invariant: it retries only when the controller could not be reached. A refusal is an answer, so it does not
 * ask again. Each wait ends at its time limit or with its signal. Time in which this process was stopped does
 * not count against a limit.
 */
import { setTimeout as wait } from 'node:timers/promises';
import type { Answer } from './answer.ts';
import { awakeMs, awakeTimer } from './running-clock.ts';

/** Waits. Rejects only with the signal's reason. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await wait(ms, undefined, { signal });
  } catch {
    signal?.throwIfAborted();
  }
}

/**
 * Waits until `work` has ended, for at most that long. Stops the clock as soon as `work` ends, because a
 * timer that is still running would keep the process alive. Rejects as `work` does, or with the signal's
 * reason.
 */
export async function within<T>(work: Promise<T>, ms: number, signal?: AbortSignal): Promise<T | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const clear = awakeTimer(ms, () => resolve(undefined));
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    if (signal?.aborted) onAbort();
    return await Promise.race([promise, work]);
  } finally {
    clear();
    signal?.removeEventListener('abort', onAbort);
  }
}

/**
 * Shortens the time by up to a quarter, so that many agents that lost the controller together do not come
 * back together.
 */
export const jittered = (ms: number): number => ms * (0.75 + Math.random() / 4);

/** A longer try has made progress, as a large upload does, so the rest of its time does not count. */
const TRY_COUNTS_MAX_MS = 60_000;

export interface RetryOptions {
  signal: AbortSignal;
  /** After failed tries for this long, it returns the last answer, also if that is `unreachable`. */
  giveUpAfterMs: number;
  firstDelayMs?: number;
  maxDelayMs?: number;
  /** Called with the reason, each time before it waits. */
  onUnreachable?: (why: string) => void;
}

/** Asks until the answer is not `unreachable`. Rejects only with the signal's reason. */
export async function untilAnswered<T>(ask: () => Promise<Answer<T>>, options: RetryOptions): Promise<Answer<T>> {
  const { signal, giveUpAfterMs, firstDelayMs = 500, maxDelayMs = 10_000, onUnreachable } = options;
  let failedMs = 0;
  for (let delayMs = firstDelayMs; ; delayMs = Math.min(delayMs * 2, maxDelayMs)) {
    const askedAtMs = awakeMs();
    const answer = await ask();
    if (answer.ok || answer.kind === 'refused') return answer;
    failedMs += Math.min(awakeMs() - askedAtMs, TRY_COUNTS_MAX_MS);
    if (failedMs >= giveUpAfterMs) return answer;
    onUnreachable?.(answer.message);
    const waitMs = jittered(Math.max(delayMs, answer.retryAfterMs ?? 0));
    failedMs += waitMs;
    await pause(waitMs, signal);
  }
}

interface PersistentlyOptions {
  signal: AbortSignal;
  giveUpAfterMs: number;
  pauseMs: number;
}

/**
 * Calls a function that throws until it succeeds. Rejects with the last error when the time is over, or with
 * the reason of `signal` when that aborts.
 */
export async function persistently<T>(
  { signal, giveUpAfterMs, pauseMs }: PersistentlyOptions,
  ask: () => Promise<T>,
): Promise<T> {
  for (const giveUpAtMs = awakeMs() + giveUpAfterMs; ; ) {
    try {
      return await ask();
    } catch (error) {
      signal.throwIfAborted();
      if (awakeMs() > giveUpAtMs) throw error;
      await pause(pauseMs, signal);
    }
  }
}
