/**
 * Knows whether the controller is reached while builds are followed.
 *
 * Invariant: it says once that the controller is away and once that it is back, however often it is asked in
 * between. It does not report a short gap, such as a stream that reconnects. Time counts only while this
 * process asks, because after a sleep it cannot tell whether the controller was away.
 */
import { awakeMs } from '../../client/running-clock.ts';

/** A gap of less than this is not said. */
export const AWAY_AFTER_MS = 5_000;
/** How long a command that follows something waits for a controller that is away. */
export const FOLLOW_GIVE_UP_AFTER_MS = 10 * 60_000;

interface ContactOptions {
  /** A gap of less than this is not said. */
  awayAfterMs: number;
  say: (reached: boolean, message: string) => void;
}

export class Contact {
  readonly #options: ContactOptions;
  #heardAtMs = awakeMs();
  /** Null: the last try succeeded. */
  #lostAtMs: number | null = null;
  #isAway = false;

  constructor(options: ContactOptions) {
    this.#options = options;
  }

  heard(): void {
    this.#heardAtMs = awakeMs();
    this.#lostAtMs = null;
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#options.say(true, 'The controller answers again.');
  }

  /** Called when a try failed that began at `sinceMs`, by awakeMs. */
  lost(why: string, sinceMs: number): void {
    this.#lostAtMs ??= Math.max(sinceMs, this.#heardAtMs);
    if (this.#isAway || this.silentMs < this.#options.awayAfterMs) return;
    this.#isAway = true;
    this.#options.say(false, `The controller is not reached (${why}). The build goes on, and so does this command.`);
  }

  /** For how long every try has failed. */
  get silentMs(): number {
    return this.#lostAtMs === null ? 0 : awakeMs() - this.#lostAtMs;
  }
}
