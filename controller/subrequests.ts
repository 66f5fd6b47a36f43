/**
 * Counts the subrequests of one invocation: to the stores, R2 and D1. The platform's plan bounds their
 * number, and an invocation that exceeds it dies in the middle of a step.
 *
 * The count travels with the asynchronous work of the invocation, so that no function has to pass it on.
 */
/// <reference path="./node-async-hooks.d.ts" />
import { AsyncLocalStorage } from 'node:async_hooks';

const counts = new AsyncLocalStorage<{ made: number; max: number }>();

/** The invocation has made as many subrequests as it may. */
export class TooManySubrequests extends Error {}

export const countingSubrequests = <T>(work: () => Promise<T>, max: number): Promise<T> =>
  counts.run({ made: 0, max }, work);

/**
 * Called before one subrequest, or before work that makes at most `times`.
 *
 * @throws {TooManySubrequests}
 */
export function countSubrequest(times = 1): void {
  const count = counts.getStore();
  if (!count) return;
  if (count.made + times > count.max)
    throw new TooManySubrequests(`more than ${count.max} subrequests in one invocation`);
  count.made += times;
}
