/**
 * Measures for how long the controller has accepted no beat of this attempt.
 *
 * Invariant: the larger of two clocks counts. The monotonic clock stands still while the Mac sleeps, and the
 * wall clock may be set back. Neither may keep an attempt alive that another Mac may already run.
 */
export class Contact {
  #wallMs: number;
  #monotonicMs: number;

  /** `sinceWallMs` comes from the journal, for an attempt that a former run of the agent has begun. */
  constructor(sinceWallMs: number = Date.now()) {
    this.#wallMs = sinceWallMs;
    this.#monotonicMs = performance.now();
  }

  /** The controller has just accepted a beat. */
  made(): void {
    this.#wallMs = Date.now();
    this.#monotonicMs = performance.now();
  }

  lostForMs(): number {
    return Math.max(Date.now() - this.#wallMs, performance.now() - this.#monotonicMs, 0);
  }
}
