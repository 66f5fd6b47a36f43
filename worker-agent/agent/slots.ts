/**
 * Runs the attempts of this Mac, and knows which VMs take a slot, also those that belong to no attempt.
 *
 * Invariant: a slot is free only when its VM is gone. An attempt may still have something to tell the
 * controller then.
 */
import type { HandBackReason } from '#contract';
import { pause } from '../../client/retry.ts';
import { runAttempt } from '../attempt/attempt.ts';
import type { AttemptAction } from '../attempt/reconcile.ts';
import type { AgentEvent, Emit } from '../events.ts';
import type { HeldSlot } from '../images/fetch.ts';
import type { AttemptJournal } from '../state/journal.ts';
import type { AttemptOptions } from '../steps/context.ts';
import { STATUS_INTERVAL_MS, vmLimitPauseMs } from '../time-limits.ts';

export interface SlotsOptions extends Omit<AttemptOptions, 'journal' | 'emit' | 'resumed'> {
  emit: Emit;
  /**
   * macOS has refused a VM. Called before the slot is free. Called again after a restart of the agent if the
   * agent has still to tell the hand-back or to destroy the VM.
   */
  onVmLimit: (message: string, pauseMs: number) => void;
  /** This run of the agent does nothing more for the attempt. */
  onLeft: (attempt: { buildId: string; attempt: number }) => void;
}

export class Slots {
  readonly #options: SlotsOptions;
  /** Each attempt, until nothing of it is left to do. */
  readonly #running = new Map<
    string,
    { vmName: string; imageVm: string | undefined; vmGone: boolean; done: Promise<void> }
  >();
  /** The VM of each slot that no attempt has. Null while such a slot has no VM. */
  readonly #held = new Map<symbol, string | null>();
  /** How many callers of `hold` wait for a slot. They come before builds. */
  #waiting = 0;
  #claims = 0;
  #changed = new AbortController();

  constructor(options: SlotsOptions) {
    this.#options = options;
  }

  /** The VMs that take a slot. */
  get vms(): string[] {
    const ofAttempts = [...this.#running.values()].filter(({ vmGone }) => !vmGone).map(({ vmName }) => vmName);
    return [...ofAttempts, ...[...this.#held.values()].filter((vm) => vm !== null)];
  }

  get inUse(): number {
    return this.vms.length + [...this.#held.values()].filter((vm) => vm === null).length;
  }

  get isOneFree(): boolean {
    return this.inUse + this.#waiting < this.#options.config.maxConcurrentBuilds;
  }

  /** The VMs that attempts may still clone. */
  get imageVms(): string[] {
    return [...this.#running.values()].flatMap(({ imageVm }) => imageVm ?? []);
  }

  /** The attempts that are not done, as `BUILD-ATTEMPT`. */
  get attempts(): string[] {
    return [...this.#running.keys()];
  }

  /** Aborts at the next change of a slot. */
  get changed(): AbortSignal {
    return this.#changed.signal;
  }

  start(journal: AttemptJournal, action: AttemptAction, { resumed }: { resumed: boolean }): void {
    const { emit, onVmLimit, onLeft, ...shared } = this.#options;
    const { assignment, vmName, image, vmGone, result } = journal.state;
    const { buildId, attempt } = assignment;
    const key = `${buildId}-${attempt}`;
    const pauseIfRefused = ({ handBack, message = '' }: { handBack?: HandBackReason; message?: string }) => {
      if (handBack === 'vm_limit') onVmLimit(message, vmLimitPauseMs(assignment.timeouts));
    };
    const emitOfThis = (event: AgentEvent) => {
      if (event.type === 'result') pauseIfRefused(event);
      if (event.type === 'slot_free') this.#free(key);
      emit(event);
    };
    const options = { ...shared, journal, resumed };
    const done = runAttempt({ ...options, emit: (event) => emitOfThis({ ...event, buildId, attempt }) }, action)
      .catch((error) =>
        emitOfThis({ type: 'warning', buildId, attempt, message: `the agent failed: ${error.stack ?? error}` }),
      )
      .finally(() => {
        this.#running.delete(key);
        onLeft({ buildId, attempt });
        this.#change();
      });
    this.#running.set(key, { vmName, imageVm: image?.vm, vmGone, done });
    this.#change();
    // A former run of the agent has made this result, and its pause ended with it.
    if (result?.type === 'fail') pauseIfRefused(result);
  }

  /** While a claim is under way, `hold` gives its slot to nobody else. */
  beginClaim(): Disposable {
    this.#claims += 1;
    return {
      [Symbol.dispose]: () => {
        this.#claims -= 1;
        if (this.#waiting > 0) this.#change();
      },
    };
  }

  /** Resolves when a slot is free for this VM, which then takes it. Rejects with the signal's reason. */
  async hold(vm: string, signal: AbortSignal): Promise<HeldSlot> {
    this.#waiting += 1;
    try {
      while (this.#claims > 0 || this.inUse >= this.#options.config.maxConcurrentBuilds)
        await pause(STATUS_INTERVAL_MS, AbortSignal.any([signal, this.changed])).catch(() => signal.throwIfAborted());
      signal.throwIfAborted();
    } finally {
      this.#waiting -= 1;
    }
    const key = Symbol(vm);
    this.#held.set(key, vm);
    this.#change();
    const change = (act: () => unknown) => {
      act();
      this.#change();
    };
    return {
      vmGone: () => change(() => this.#held.set(key, null)),
      release: () => change(() => this.#held.delete(key)),
    };
  }

  /** Resolves when every attempt is done. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  #free(key: string): void {
    const running = this.#running.get(key);
    if (running) running.vmGone = true;
    this.#change();
  }

  #change(): void {
    this.#changed.abort();
    this.#changed = new AbortController();
  }
}
