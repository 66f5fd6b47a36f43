/**
 * Waits for the one message of a thread, and ends the thread.
 *
 * Invariant: no thread outlives its time, which does not count while the Mac sleeps. An answer that comes
 * within it is heard.
 */
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { within } from '../../client/retry.ts';

/** Null if the time was up. Rejects with the reason of `signal`, or with the error of the thread. */
export async function answerOfThread<T>(thread: Worker, limitMs: number, signal: AbortSignal): Promise<T | null> {
  // The thread may also fail after its answer, and an error without a listener ends the agent.
  thread.on('error', () => {});
  try {
    const [answer] = (await within(once(thread, 'message') as Promise<[T]>, limitMs, signal)) ?? [null];
    return answer;
  } finally {
    await thread.terminate();
  }
}
