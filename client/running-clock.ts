/**
 * Counts the time in which this process ran. The clock stops while the machine sleeps or the process is
 * stopped, so that time asleep does not count against a limit on tart, on a VM or on an answer of the
 * controller. The controller's own deadlines go by the clock on the wall.
 *
 * Invariant: however long the process was stopped, this clock advances by at most GAP_MAX_MS.
 */
const TICK_MS = 1_000;
/** A tick can be this late on a busy machine. */
const GAP_MAX_MS = 2_000;

let totalMs = 0;
let lookedAtMs = performance.now();

/** The milliseconds in which this process has run since its start. */
export function awakeMs(): number {
  const nowMs = performance.now();
  totalMs += Math.min(nowMs - lookedAtMs, GAP_MAX_MS);
  lookedAtMs = nowMs;
  return totalMs;
}
setInterval(awakeMs, TICK_MS).unref();

/**
 * Calls `onTime` once, after `ms` milliseconds by this clock. The returned function cancels the timer. After
 * a stall, Node fires timers before it handles data that has arrived. So `onTime` waits until Node has
 * handled that data.
 */
export function awakeTimer(ms: number, onTime: () => void): () => void {
  const endMs = awakeMs() + ms;
  let timer = setTimeout(look, ms);
  let decision: NodeJS.Immediate | undefined;
  function look() {
    const leftMs = endMs - awakeMs();
    if (leftMs > 0) timer = setTimeout(look, leftMs);
    else decision = setImmediate(onTime);
  }
  return () => {
    clearTimeout(timer);
    clearImmediate(decision);
  };
}
