/**
 * Measures for how long the controller has accepted no beat of this attempt.
 *
 * Invariant: the larger of two clocks counts. The monotonic clock stands still while the Mac sleeps, and the
 * wall clock may be set back. Neither may keep an attempt alive that another Mac may already run.
 */
export class Contact {
  #wallMs: number;
  #monotonicMs: number;
  #outage: { message: string; wallMs: number; monotonicMs: number } | null = null;

  /** `sinceWallMs` comes from the journal, for an attempt that a former run of the agent has begun. */
  constructor(sinceWallMs: number = Date.now()) {
    this.#wallMs = sinceWallMs;
    this.#monotonicMs = performance.now();
  }

  /** The controller has just accepted a beat. */
  made(): void {
    this.#wallMs = Date.now();
    this.#monotonicMs = performance.now();
    this.#outage = null;
  }

  /** The platform of the controller has just said that nobody reaches the controller now. */
  platformAway(message: string): void {
    this.#outage = { message, wallMs: Date.now(), monotonicMs: performance.now() };
  }

  /**
   * The message of the platform within this time, if the controller has accepted no beat since. A message
   * proves that this Mac has a network, and that no other Mac can have been given its build.
   */
  outageWithin(ms: number): string | null {
    if (this.#outage === null) return null;
    const { message, wallMs, monotonicMs } = this.#outage;
    return Math.max(Date.now() - wallMs, performance.now() - monotonicMs) <= ms ? message : null;
  }

  lostForMs(): number {
    return Math.max(Date.now() - this.#wallMs, performance.now() - this.#monotonicMs, 0);
  }
}
