/** Decides which request to the stand-in of Google Play fails, and how. */
import type { PlayAct, PlayFault, PlayOperation } from './control.ts';

const ACTS: readonly PlayAct[] = [
  { kind: 'lose' },
  { kind: 'cut' },
  { kind: 'status', status: 429, retryAfter: '0' },
  { kind: 'status', status: 500 },
  { kind: 'status', status: 503 },
  { kind: 'refuse', refusal: 'unauthenticated' },
  { kind: 'refuse', refusal: 'edit_deleted' },
  { kind: 'refuse', refusal: 'internal' },
  { kind: 'refuse', refusal: 'not_completed' },
  { kind: 'slow', delayMs: 20 },
];

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class PlayFaults {
  readonly #waiting = new Map<string, { fault: PlayFault; after: number; times: number }[]>();
  readonly #unrest = new Map<string, { random: () => number; share: number }>();

  add(scope: string, fault: PlayFault): void {
    const waiting = this.#waiting.get(scope) ?? [];
    waiting.push({ fault, after: fault.after ?? 0, times: fault.times ?? 1 });
    this.#waiting.set(scope, waiting);
  }

  unrest(scope: string, seed: number, share: number): void {
    if (share === 0) this.#unrest.delete(scope);
    else this.#unrest.set(scope, { random: randomFrom(seed), share });
  }

  /** What happens to this request. Null: nothing odd. */
  next(scope: string, operation: PlayOperation): PlayAct | null {
    const entry = this.#waiting.get(scope)?.find(({ fault, times }) => fault.on === operation && times > 0);
    if (entry && entry.after > 0) entry.after -= 1;
    else if (entry) {
      entry.times -= 1;
      return entry.fault.act;
    }
    const unrest = this.#unrest.get(scope);
    if (!unrest || unrest.random() >= unrest.share) return null;
    return ACTS[Math.floor(unrest.random() * ACTS.length)] ?? null;
  }
}
