/**
 * Examines a Mac that is quarantined, or that has switched an image back, with doctor's own checks, in clones
 * too, and sends the findings. The controller gives the worker builds again if they passed.
 *
 * Invariant: one examination at a time, and each pause twice as long as the one before. A Mac that passes its
 * checks and loses its builds all the same must not lose many. Findings are sent only if a blocking check
 * failed or a clone started, because while two VMs run no clone can be examined.
 */
import type { Emit } from '../events.ts';
import { runDoctor } from '../health-checks/check-up.ts';
import { isTelling, postFindings } from '../health-checks/findings.ts';
import { blockingFailure, type CheckResult } from '../health-checks/run-checks.ts';
import type { Images } from '../images/images.ts';

const PAUSE_MIN_MS = 5 * 60_000;
const PAUSE_MAX_MS = 60 * 60_000;
/** When no clone could be examined, because the VM slots of this Mac were in use. */
const NOT_EXAMINED_PAUSE_MS = 60_000;

export interface SelfCheckOptions {
  configPath: string;
  images: Images;
  emit: Emit;
}

export class SelfCheck {
  readonly #options: SelfCheckOptions;
  #running: Promise<void> | null = null;
  #pauseMs = PAUSE_MIN_MS;
  #notBeforeMs = 0;
  /** Whether the agent has said already that no clone can be examined. */
  #saidWaiting = false;

  constructor(options: SelfCheckOptions) {
    this.#options = options;
  }

  /** The controller says `quarantined`. Begins an examination if it is time for one, and returns at once. */
  quarantined(signal: AbortSignal): void {
    if (this.#running || performance.now() < this.#notBeforeMs) return;
    const running = this.#run(signal).finally(() => {
      if (this.#running === running) this.#running = null;
    });
    this.#running = running;
  }

  /** An image was switched back. Examines the snapshot that builds get now, without waiting for a pause. */
  switchedBack(signal: AbortSignal): void {
    this.#pauseMs = PAUSE_MIN_MS;
    const before = this.#running ?? Promise.resolve();
    const running = before
      .then(() => (signal.aborted ? undefined : this.#run(signal)))
      .finally(() => {
        if (this.#running === running) this.#running = null;
      });
    this.#running = running;
  }

  /** Resolves when no examination runs and no clone of one is left. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { configPath, images, emit } = this.#options;
    try {
      const { checks } = await runDoctor({ configPath, vm: true, imagesOf: () => images.examined(), signal });
      if (!isTelling(checks)) {
        this.#waitForSlot(checks);
        return;
      }
      this.#saidWaiting = false;
      const answer = await postFindings(configPath, checks);
      const failure = blockingFailure(checks);
      const message = failure ? `${failure.id}: ${failure.detail}` : 'every blocking check passed';
      emit({ type: 'self_check', ok: failure === null, message: 'state' in answer ? message : answer.message });
    } catch (error) {
      if (!signal.aborted)
        emit({
          type: 'warning',
          message: `the self-check of this worker failed: ${(error as Error).message}`,
        });
    }
    this.#notBeforeMs = performance.now() + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, PAUSE_MAX_MS);
  }

  #waitForSlot(checks: readonly CheckResult[]): void {
    this.#notBeforeMs = performance.now() + NOT_EXAMINED_PAUSE_MS;
    if (this.#saidWaiting) return;
    this.#saidWaiting = true;
    const start = checks.find(({ id }) => id.startsWith('vm_start'));
    this.#options.emit({ type: 'self_check', ok: false, message: `no clone was examined yet: ${start?.detail}` });
  }
}
