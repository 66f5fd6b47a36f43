/**
 * Waits for the one message of a thread, and ends the thread.
 *
 * Invariant: no thread outlives its time, in which a Mac that sleeps does not count. What it has said by then
 * is heard.
 */
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { awakeTimer } from '../../client/running-clock.ts';

/** Null if the time was up. Rejects with the reason of `signal`, or with the error of the thread. */
export async function answerOfThread<T>(thread: Worker, limitMs: number, signal: AbortSignal): Promise<T | null> {
  const late = new AbortController();
  let decision: NodeJS.Immediate | undefined;
  // After a stall Node fires this timer before it takes what the thread has sent. So that is heard first.
  const clearTimer = awakeTimer(limitMs, () => {
    decision = setImmediate(() => late.abort());
  });
  // `once` no longer listens when the time is up, and an error to which nobody listens ends the agent.
  thread.on('error', () => {});
  try {
    const [answer] = (await once(thread, 'message', { signal: AbortSignal.any([signal, late.signal]) })) as [T];
    return answer;
  } catch (error) {
    signal.throwIfAborted();
    if (late.signal.aborted) return null;
    throw error;
  } finally {
    clearTimer();
    clearImmediate(decision);
    await thread.terminate();
  }
}
