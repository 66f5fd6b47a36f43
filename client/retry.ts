/**
 * Waits and retries. The agent has no other code for this.
 *
 * Invariant: it retries only when the controller could not be reached. A refusal is an answer, so it does not
 * ask again. Each wait ends at its time limit or with its signal.
 */
import { setTimeout as wait } from 'node:timers/promises';
import type { Answer } from './answer.ts';

/** Waits. Rejects only with the signal's reason. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await wait(ms, undefined, { signal });
  } catch {
    signal?.throwIfAborted();
  }
}

/**
 * Waits until `work` has ended, for at most that long. Stops the clock as soon as `work` ends: a timer that
 * nobody awaits any more would keep the process alive. Rejects as `work` does, or with the signal's reason.
 */
export async function within<T>(work: Promise<T>, ms: number, signal?: AbortSignal): Promise<T | undefined> {
  const ended = new AbortController();
  const either = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal;
  try {
    return await Promise.race([work, pause(ms, either).then(() => undefined)]);
  } finally {
    ended.abort();
  }
}

/**
 * Shortens the time by up to a quarter, so that many agents that lost the controller at once do not come back
 * at once.
 */
export const jittered = (ms: number): number => ms * (0.75 + Math.random() / 4);

export interface RetryOptions {
  signal: AbortSignal;
  /** After this time the last answer is returned, also if it is `unreachable`. */
  giveUpAfterMs: number;
  firstDelayMs?: number;
  maxDelayMs?: number;
  /** Called with why, each time before it waits. */
  onUnreachable?: (why: string) => void;
}

/** Asks until the answer is not `unreachable`. Rejects only with the signal's reason. */
export async function untilAnswered<T>(ask: () => Promise<Answer<T>>, options: RetryOptions): Promise<Answer<T>> {
  const { signal, giveUpAfterMs, firstDelayMs = 500, maxDelayMs = 10_000, onUnreachable } = options;
  const startedAt = performance.now();
  for (let delayMs = firstDelayMs; ; delayMs = Math.min(delayMs * 2, maxDelayMs)) {
    const answer = await ask();
    if (answer.ok || answer.kind === 'refused') return answer;
    if (performance.now() - startedAt >= giveUpAfterMs) return answer;
    onUnreachable?.(answer.message);
    await pause(jittered(Math.max(delayMs, answer.retryAfterMs ?? 0)), signal);
  }
}

export interface PersistentlyOptions {
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
  for (const giveUpAt = Date.now() + giveUpAfterMs; ; ) {
    try {
      return await ask();
    } catch (error) {
      signal.throwIfAborted();
      if (Date.now() > giveUpAt) throw error;
      await pause(pauseMs, signal);
    }
  }
}
