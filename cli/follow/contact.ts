/**
 * Knows whether the controller is reached while builds are followed.
 *
 * Invariant: it says once that the controller is away and once that it is back, however often it is asked in
 * between. A short gap, such as a stream that is taken up again, is not said.
 */
export interface ContactOptions {
  /** A gap of less than this is not said. */
  awayAfterMs: number;
  say: (reached: boolean, message: string) => void;
}

export class Contact {
  readonly #options: ContactOptions;
  #heardAt = performance.now();
  #isAway = false;

  constructor(options: ContactOptions) {
    this.#options = options;
  }

  heard(): void {
    this.#heardAt = performance.now();
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#options.say(true, 'The controller answers again.');
  }

  lost(why: string): void {
    if (this.#isAway || this.silentMs < this.#options.awayAfterMs) return;
    this.#isAway = true;
    this.#options.say(false, `The controller is not reached (${why}). The build goes on, and so does this command.`);
  }

  get silentMs(): number {
    return performance.now() - this.#heardAt;
  }
}
