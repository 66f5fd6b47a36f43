/**
 * Examines a quarantined Mac with doctor's own checks, in a clone too, and sends the findings. The controller
 * gives the worker builds again if they passed.
 *
 * Invariant: one examination at a time, and each pause twice as long as the one before. A Mac that passes its
 * checks and loses its builds all the same must not lose many.
 */
import type { Emit } from '../events.ts';
import { runDoctor } from '../health-checks/check-up.ts';
import { postFindings } from '../health-checks/findings.ts';
import { blockingFailure } from '../health-checks/run-checks.ts';

const PAUSE_MIN_MS = 5 * 60_000;
const PAUSE_MAX_MS = 60 * 60_000;

export class SelfCheck {
  readonly #configPath: string;
  readonly #emit: Emit;
  #running: Promise<void> | null = null;
  #pauseMs = PAUSE_MIN_MS;
  #notBeforeMs = 0;

  constructor(configPath: string, emit: Emit) {
    this.#configPath = configPath;
    this.#emit = emit;
  }

  /** The controller says `quarantined`. Begins an examination if it is time for one, and returns at once. */
  quarantined(signal: AbortSignal): void {
    if (this.#running || performance.now() < this.#notBeforeMs) return;
    this.#running = this.#run(signal).finally(() => {
      this.#running = null;
    });
  }

  /** Resolves when no examination runs and no clone of one is left. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    try {
      const { checks } = await runDoctor({ configPath: this.#configPath, vm: true, signal });
      const answer = await postFindings(this.#configPath, checks);
      const failure = blockingFailure(checks);
      const message = failure ? `${failure.id}: ${failure.detail}` : 'every blocking check passed';
      this.#emit({ type: 'self_check', ok: failure === null, message: 'state' in answer ? message : answer.message });
    } catch (error) {
      if (!signal.aborted)
        this.#emit({
          type: 'warning',
          message: `the self-check of this quarantined worker failed: ${(error as Error).message}`,
        });
    }
    this.#notBeforeMs = performance.now() + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, PAUSE_MAX_MS);
  }
}
