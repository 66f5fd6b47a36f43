/** Asks a controller that may be away for a while. */
import { setTimeout as sleep } from 'node:timers/promises';

interface PersistentlyOptions {
  signal: AbortSignal;
  giveUpAfterMs: number;
  pauseMs: number;
}

/** Rejects with the last error when the time is over, or as soon as `signal` has fired. */
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
      await sleep(pauseMs, undefined, { signal });
    }
  }
}
