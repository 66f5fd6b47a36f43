/**
 * For how long the controller has not accepted a beat of this attempt.
 *
 * Invariant: by the larger of two clocks. The monotonic one rests while a Mac sleeps, the wall clock may be set back; an attempt that
 * someone else may be running meanwhile must not be held for longer by either.
 */
export class Contact {
  #wallMs: number;
  #monotonicMs: number;

  /** `sinceWallMs`: from the journal, for an attempt that a former run had begun. */
  constructor(sinceWallMs: number = Date.now()) {
    this.#wallMs = sinceWallMs;
    this.#monotonicMs = performance.now();
  }

  made(): void {
    this.#wallMs = Date.now();
    this.#monotonicMs = performance.now();
  }

  lostForMs(): number {
    return Math.max(Date.now() - this.#wallMs, performance.now() - this.#monotonicMs, 0);
  }
}
