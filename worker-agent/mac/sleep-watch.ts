/**
 * Notices each gap in which this process did not run, because the Mac slept or the process was stopped.
 *
 * Invariant: a gap is known within a second of its end. A machine that is merely busy makes no gap.
 */

/** One gap in which the process did not run. */
export interface Sleep {
  asleepMs: number;
  /** Since its end. */
  awakeMs: number;
}

const TICK_MS = 1_000;
/** A busy machine may delay a tick by up to this time. */
const GAP_MIN_MS = 5_000;
/** Limits the memory for a Mac that sleeps again and again for seconds. */
const KEPT_MAX = 200;

interface Gap {
  gapMs: number;
  endedAtMs: number;
}

export class SleepWatch implements Disposable {
  readonly #gaps: Gap[] = [];
  #lastMs = Date.now();
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** See longestSleep. */
  longest(withinMs: number): Sleep | null {
    return longestSleep(this.#gaps, Date.now(), withinMs);
  }

  #tick(): void {
    const nowMs = Date.now();
    const gapMs = nowMs - this.#lastMs - TICK_MS;
    this.#lastMs = nowMs;
    if (gapMs < GAP_MIN_MS) return;
    this.#gaps.push({ gapMs, endedAtMs: nowMs });
    if (this.#gaps.length > KEPT_MAX) this.#gaps.shift();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/**
 * The sleep that may explain a present silence: the longest of those that ended within this time, or else the
 * longest of all. Null if there was none. Pure.
 */
export function longestSleep(gaps: readonly Gap[], nowMs: number, withinMs: number): Sleep | null {
  const sleeps = gaps.map(({ gapMs, endedAtMs }) => ({ asleepMs: gapMs, awakeMs: Math.max(0, nowMs - endedAtMs) }));
  const recent = sleeps.filter(({ awakeMs }) => awakeMs <= withinMs);
  const longestOf = (some: Sleep[]) => some.toSorted((a, b) => b.asleepMs - a.asleepMs)[0];
  return longestOf(recent) ?? longestOf(sleeps) ?? null;
}
