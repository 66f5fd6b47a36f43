/**
 * Notices when this process did not run: a Mac asleep, a stopped process.
 *
 * Invariant: `longestMs` is the longest gap between two ticks since the start, beyond what a tick takes.
 */
const TICK_MS = 1_000;
/** Below this it is a busy machine. */
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
