/**
 * Keeps the answer ready whether this Mac can take a build: looks after each change of a slot, and before the
 * last answer is too old.
 *
 * Invariant: a claim never waits for a look. After macOS has refused a VM, the Mac counts as not ready
 * for a time, because a look cannot see why.
 */
import { pause } from '../../client/retry.ts';
import { NOT_READY_LOOK_MS, READY_FOR_MS, READY_LOOK_MS } from '../time-limits.ts';
import type { Slots } from './slots.ts';

/** Null if nothing is in the way. */
export type Look = (ours: readonly string[], signal: AbortSignal) => Promise<string | null>;

export class Readiness {
  readonly #look: Look;
  readonly #slots: Pick<Slots, 'vms' | 'changed'>;
  #seen: { obstacle: string | null; atMs: number; vms: string } | null = null;
  #held = { obstacle: '', untilMs: Number.NEGATIVE_INFINITY };
  #changed = new AbortController();

  constructor(look: Look, slots: Pick<Slots, 'vms' | 'changed'>) {
    this.#look = look;
    this.#slots = slots;
  }

  /** The obstacle that the last look found. Null also before the first look. */
  get obstacle(): string | null {
    return this.#seen?.obstacle ?? null;
  }

  /** True if a look that is not too old, and that knew of all VMs of this agent, found nothing in the way. */
  get isReady(): boolean {
    const { atMs, obstacle, vms } = this.#seen ?? { atMs: Number.NEGATIVE_INFINITY, obstacle: null, vms: '' };
    return obstacle === null && performance.now() - atMs <= READY_FOR_MS && vms === this.#slots.vms.join();
  }

  /** Aborts when there is a new answer that differs, or the first for the present VMs. */
  get changed(): AbortSignal {
    return this.#changed.signal;
  }

  /** Notes an obstacle that a look may not see. It counts for `pauseMs`, whatever looks find. */
  holdFor(pauseMs: number, obstacle: string): void {
    const atMs = performance.now();
    this.#held = { obstacle, untilMs: atMs + pauseMs };
    this.#note({ obstacle, atMs, vms: this.#slots.vms.join() });
  }

  /** Resolves when `signal` has fired. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { changed, vms } = this.#slots;
      const atMs = performance.now();
      const seen = await this.#look(vms, signal).catch((error: Error) => error.message);
      if (signal.aborted) return;
      const heldMs = this.#held.untilMs - performance.now();
      const obstacle = heldMs > 0 ? this.#held.obstacle : seen;
      this.#note({ obstacle, atMs, vms: vms.join() });
      const waitMs = obstacle === null ? READY_LOOK_MS : NOT_READY_LOOK_MS;
      const untilFreeMs = heldMs > 0 ? Math.min(waitMs, heldMs) : waitMs;
      await pause(untilFreeMs, AbortSignal.any([signal, changed])).catch(() => {});
    }
  }

  #note(seen: { obstacle: string | null; atMs: number; vms: string }): void {
    const wasReady = this.isReady;
    const before = this.#seen;
    this.#seen = seen;
    if (before?.obstacle === seen.obstacle && before.vms === seen.vms && wasReady === this.isReady) return;
    this.#changed.abort();
    this.#changed = new AbortController();
  }
}
