/** Decides which request to a stand-in fails, and how. */

export interface Fault<Operation, Act> {
  on: Operation;
  act: Act;
  /** How many requests of the operation pass before the fault. */
  after?: number;
  /** How many requests meet it. Left out: one. */
  times?: number;
}

/** Numbers from 0 to 1 that follow from the seed: Mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class Faults<Operation, Act> {
  readonly #acts: readonly Act[];
  readonly #waiting = new Map<string, { fault: Fault<Operation, Act>; after: number; times: number }[]>();
  readonly #unrest = new Map<string, { random: () => number; share: number }>();

  /** @param acts the acts that {@link unrest} draws from */
  constructor(acts: readonly Act[]) {
    this.#acts = acts;
  }

  add(scope: string, fault: Fault<Operation, Act>): void {
    const waiting = this.#waiting.get(scope) ?? [];
    waiting.push({ fault, after: fault.after ?? 0, times: fault.times ?? 1 });
    this.#waiting.set(scope, waiting);
  }

  unrest(scope: string, seed: number, share: number): void {
    if (share === 0) this.#unrest.delete(scope);
    else this.#unrest.set(scope, { random: randomFrom(seed), share });
  }

  /** The act for this request. Null: nothing odd. */
  next(scope: string, operation: Operation): Act | null {
    const entry = this.#waiting.get(scope)?.find(({ fault, times }) => fault.on === operation && times > 0);
    if (entry && entry.after > 0) entry.after -= 1;
    else if (entry) {
      entry.times -= 1;
      return entry.fault.act;
    }
    const unrest = this.#unrest.get(scope);
    if (!unrest || unrest.random() >= unrest.share) return null;
    return this.#acts[Math.floor(unrest.random() * this.#acts.length)] ?? null;
  }
}
