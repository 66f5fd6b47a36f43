import { setTimeout as sleep } from 'node:timers/promises';

/** Asks until the answer is truthy, and returns it. */
export async function until<T>(
  ask: () => T | Promise<T>,
  what: string,
  withinMs = 20_000,
  everyMs = 25,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(everyMs);
  }
}
