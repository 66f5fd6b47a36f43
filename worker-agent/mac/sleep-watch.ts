/**
 * Notices that this process did not run for a while, because the Mac slept or the process was stopped.
 *
 * Invariant: `longestMs` is the longest pause since the start, or 0 if none was longer than GAP_MIN_MS.
 */
const TICK_MS = 1_000;
/** A shorter pause means a busy machine. */
const GAP_MIN_MS = 5_000;

export class SleepWatch implements Disposable {
  longestMs = 0;
  #lastMs = Date.now();
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  #tick(): void {
    const gapMs = Date.now() - this.#lastMs - TICK_MS;
    this.#lastMs = Date.now();
    if (gapMs >= GAP_MIN_MS) this.longestMs = Math.max(this.longestMs, gapMs);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
