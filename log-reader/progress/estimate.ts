/**
 * Calculates how much time is left, from the build so far and from builds like it. Pure arithmetic.
 *
 *   percent = elapsed / (elapsed + left)      left = rest of the current phase + phases to come × speed
 *
 * The formula is the same without history. Typical figures then replace the learned ones, and count less than
 * the output of the build.
 */

/** The expected figures of a phase. */
export interface Expectation {
  durationMs: number;
  work: number;
  /** Per mille of the duration at which i/16 of the work has been seen. */
  curve: readonly number[];
  /** Learned from an earlier build of this project, not a typical figure. */
  learned: boolean;
}

/** The figures that the output has shown of a phase so far. */
export interface Seen {
  elapsedMs: number;
  work: number;
  /** Share done, 0 to 1, as the tool reports it; null if it reports none. */
  share: number | null;
  /** The share of the current step, if the step prints nothing until its end. */
  ahead: number;
  sinceWorkMs: number;
  ended: boolean;
}

/** How far the speed of a build may differ from the expected speed. */
const SPEED_MIN = 0.3;
const SPEED_MAX = 3;
/** Silence counts as progress, but only up to this share of a phase, because the build may be stuck. */
const SILENCE_MAX_TYPICAL = 0.1;
/** The expected end is blurred by this share of the duration, because a typical duration is only a guess. */
const BLUR_TYPICAL = 0.4;
const BLUR_LEARNED = 0.1;
/**
 * At least this share of the elapsed time is left while a phase runs, because a phase that takes longer than
 * expected will not end at this very moment.
 */
const OVERRUN_TYPICAL = 0.08;
const OVERRUN_LEARNED = 0.05;

const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);

/**
 * Observed speed, drawn towards `prior` as long as little has been seen. 2 means twice as slow as expected.
 */
export function speedOf(actualMs: number, expectedMs: number, trustMs: number, prior = 1): number {
  return clamp((actualMs + trustMs * prior) / (expectedMs + trustMs || 1), SPEED_MIN, SPEED_MAX);
}

/** Share of the duration at which this share of the work has been seen. */
export function timeShare(curve: readonly number[], workShare: number): number {
  const steps = curve.length - 1;
  const at = clamp(workShare, 0, 1) * steps;
  const low = Math.min(Math.floor(at), steps - 1);
  const from = curve[low] ?? 0;
  const to = curve[low + 1] ?? from;
  return clamp((from + (to - from) * (at - low)) / 1_000, 0, 1);
}

/**
 * The time left by the clock alone. It counts down to the expected end and never becomes negative.
 */
function leftByTime(durationMs: number, elapsedMs: number, learned: boolean): number {
  const blurMs = Math.max(durationMs * (learned ? BLUR_LEARNED : BLUR_TYPICAL), 1);
  const x = (durationMs - elapsedMs) / blurMs;
  return x > 30 ? durationMs - elapsedMs : blurMs * Math.log1p(Math.exp(x));
}

/** The share of the phase's time that has passed, judged by its output; null if the output does not tell. */
function shareDone(expected: Expectation, seen: Seen, speed: number): number | null {
  const durationMs = Math.max(expected.durationMs * speed, 1);
  const silence = seen.sinceWorkMs / durationMs;
  const byCurve = expected.work > 0 && (seen.work > 0 || seen.share === null);
  if (byCurve && (expected.learned || seen.share === null)) {
    const share = seen.work / Math.max(expected.work, seen.work);
    const first = (expected.curve[0] ?? 0) / 1_000;
    if (seen.work === 0) {
      // There is no work yet. If it is much later than expected, this build is not like the earlier ones, so
      // only the clock counts.
      return seen.elapsedMs > durationMs * first * 1.5 + 10_000 ? null : Math.min(silence, Math.max(first, 0.02));
    }
    const done = timeShare(expected.curve, share);
    const next = timeShare(expected.curve, share + 1 / 16);
    return done + Math.min(silence, expected.learned ? Math.max(next - done, 0.02) : SILENCE_MAX_TYPICAL);
  }
  if (seen.share === null) return null;
  return seen.share + Math.min(silence, Math.max(SILENCE_MAX_TYPICAL * (1 - seen.share), seen.ahead));
}

/** Milliseconds that a phase under way still takes. */
export function leftInPhase(expected: Expectation, seen: Seen, speed: number): number {
  if (seen.ended) return 0;
  const { durationMs, learned } = expected;
  const byTime = leftByTime(durationMs * speed, seen.elapsedMs, learned);
  const floor = seen.elapsedMs * (learned ? OVERRUN_LEARNED : OVERRUN_TYPICAL);
  const done = shareDone(expected, seen, speed);
  if (done === null) return Math.max(byTime, floor);
  const share = Math.min(done, 0.999);
  const ownSpeed = speedOf(seen.elapsedMs, durationMs * share, durationMs * (learned ? 0.25 : 0.15), speed);
  const byWork = durationMs * (1 - share) * ownSpeed;
  // The further a typical phase is, the better its own output tells how much is left; the clock only helps at
  // the start.
  const trust = learned ? 1 : clamp(0.4 + share, 0, 1);
  return Math.max(byWork * trust + byTime * (1 - trust), learned ? 0 : floor * (1 - share));
}
