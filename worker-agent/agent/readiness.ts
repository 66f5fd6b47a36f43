/**
 * Keeps the answer ready whether this Mac can take a build: looks after each change of a slot, and before the
 * last answer is too old.
 *
 * Invariant: nobody who claims waits for a look.
 */
import { pause } from '../../client/retry.ts';
import { NOT_READY_LOOK_MS, READY_FOR_MS, READY_LOOK_MS } from '../limits.ts';
import type { Slots } from './slots.ts';

/** Null if nothing is in the way. */
export type Look = (ours: readonly string[], signal: AbortSignal) => Promise<string | null>;

export class Readiness {
  readonly #look: Look;
  readonly #slots: Pick<Slots, 'vms' | 'changed'>;
  #seen: { obstacle: string | null; atMs: number; vms: string } | null = null;
  #changed = new AbortController();

  constructor(look: Look, slots: Pick<Slots, 'vms' | 'changed'>) {
    this.#look = look;
    this.#slots = slots;
  }

  /** What was in the way at the last look; null also before the first one. */
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

  /** Resolves when `signal` has fired. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { changed, vms } = this.#slots;
      const atMs = performance.now();
      const obstacle = await this.#look(vms, signal).catch((error: Error) => error.message);
      if (signal.aborted) return;
      this.#note({ obstacle, atMs, vms: vms.join() });
      const waitMs = obstacle === null ? READY_LOOK_MS : NOT_READY_LOOK_MS;
      await pause(waitMs, AbortSignal.any([signal, changed])).catch(() => {});
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
