/**
 * A clock that stands while this process does: a Mac that slept has used up nobody's time. For limits on what a VM is asked; what
 * the controller counts goes on by the clock on the wall.
 *
 * Invariant: however long the process stood still, the clock goes on by GAP_MAX_MS at the most.
 */
const TICK_MS = 1_000;
/** A tick on a busy machine may take so long. */
const GAP_MAX_MS = 2_000;

let totalMs = 0;
let lookedAtMs = performance.now();

/** Milliseconds since the start of this process in which it ran. */
export function awakeMs(): number {
  const nowMs = performance.now();
  totalMs += Math.min(nowMs - lookedAtMs, GAP_MAX_MS);
  lookedAtMs = nowMs;
  return totalMs;
}
setInterval(awakeMs, TICK_MS).unref();

/** Calls `onTime` once, after so many milliseconds by this clock, unless cleared with what it returns. */
export function awakeTimer(ms: number, onTime: () => void): () => void {
  const endMs = awakeMs() + ms;
  let timer = setTimeout(look, ms);
  function look() {
    const leftMs = endMs - awakeMs();
    if (leftMs > 0) timer = setTimeout(look, leftMs);
    else onTime();
  }
  return () => clearTimeout(timer);
}
