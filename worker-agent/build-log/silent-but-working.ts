/**
 * Says how long a build has been silent. The clock counts since the log last grew. It rests while the VM
 * works although it prints nothing: an upload, a notarisation, quiet tests. Pure.
 *
 * The VM works while it uses CPU time, or sends and receives bytes, clearly faster than it did before the
 * command began. The guest looks every 10 s, so the usage is known only at the end of such a span. Until then
 * the clock assumes that the VM goes on as in the last span.
 *
 * Invariant: only a span that was measured, and compared with the time before the command, stops the clock.
 * In attempts that an older agent began, nothing is measured before the command. There the clock never rests.
 */
import type { Usage } from '../guest/answers.ts';

export interface UsageRates {
  cores: number;
  /** Null if the guest cannot tell. */
  bytesPerSecond: number | null;
}

/** This much more CPU than before the command is work: a hundredth of a core. */
const WORK_MIN_CORES = 0.01;
/**
 * This much more traffic than before the command is work. The agent's own looks at the log and the beats of
 * the monitor are at most some 10 KiB a second while the log does not grow, also if somebody follows it. An
 * upload that is slower than this limit moves 115 MB in the two hours of the default buildTimeout, so it
 * fails anyway.
 */
const TRAFFIC_MIN_BYTES_PER_SECOND = 16 * 1024;
/**
 * A shorter span before the command counts only if there is no longer one. Services work for a moment every
 * few seconds, and a short span may lie between two of these moments.
 */
const BASELINE_SPAN_MIN_MS = 5_000;
/**
 * This much CPU may have been used unseen before the command, because `ps` counts in hundredths of a second
 * for each process. The shorter the span, the more this weighs, so that a short one makes nothing look like
 * work.
 */
const UNSEEN_CPU_MS = 100;
/** No more than this is added, so that work after a very short span is still seen. */
const UNSEEN_CORES_MAX = 0.05;
/** How long the last span counts as the present one: two looks of the guest, because one may be late. */
const PRESUMED_MS = 20_000;

/** Null if no time has passed: the clock of the guest was set. */
function ratesBetween(first: Usage, last: Usage): UsageRates | null {
  const seconds = (last.atMs - first.atMs) / 1_000;
  if (!(seconds > 0)) return null;
  const bytes =
    first.networkBytes === null || last.networkBytes === null ? null : last.networkBytes - first.networkBytes;
  return {
    cores: Math.max(0, last.cpuMs - first.cpuMs) / 1_000 / seconds,
    // A counter that fell was begun anew, so nothing is known of this span.
    bytesPerSecond: bytes === null || bytes < 0 ? null : bytes / seconds,
  };
}

/**
 * How fast the VM uses CPU and network while no command runs: rather too fast than too slow. Of the spans
 * that begin with the first usage the slowest counts, because a VM is busy with its own start for a while,
 * and because the source comes over the same network. If all spans are short, the whole time counts. Null if
 * there are no two usages.
 */
export function baselineOf([first, ...later]: readonly Usage[]): UsageRates | null {
  if (!first) return null;
  const long = later.filter(({ atMs }) => atMs - first.atMs >= BASELINE_SPAN_MIN_MS);
  const ends = long.length > 0 ? long : later.slice(-1);
  const spans = ends.flatMap((last) => {
    const seen = ratesBetween(first, last);
    if (!seen) return [];
    const unseenCores = Math.min(UNSEEN_CPU_MS / (last.atMs - first.atMs), UNSEEN_CORES_MAX);
    return { ...seen, cores: seen.cores + unseenCores };
  });
  if (spans.length === 0) return null;
  const traffic = spans.flatMap(({ bytesPerSecond }) => bytesPerSecond ?? []);
  return {
    cores: Math.min(...spans.map(({ cores }) => cores)),
    bytesPerSecond: traffic.length === 0 ? null : Math.min(...traffic),
  };
}

/** Whether the VM did clearly more than before the command. */
export function isWork(now: UsageRates, before: UsageRates): boolean {
  if (now.cores > before.cores + WORK_MIN_CORES) return true;
  if (now.bytesPerSecond === null || before.bytesPerSecond === null) return false;
  return now.bytesPerSecond > before.bytesPerSecond + TRAFFIC_MIN_BYTES_PER_SECOND;
}

export interface OutputClock {
  /** Null if nothing was measured before the command. */
  baseline: UsageRates | null;
  grewAtMs: number;
  /** The longest silence that has ended, without the time for which the clock rested in it. */
  longestMs: number;
  /** How long the clock has rested since then. */
  restedMs: number;
  /** The last look of the guest, and when the agent heard of it. */
  seen: { usage: Usage; atMs: number } | null;
  /** Whether the VM worked in the span that ended with the last look. */
  works: boolean;
}

export const startClock = (baseline: UsageRates | null, nowMs: number): OutputClock => ({
  baseline,
  grewAtMs: nowMs,
  longestMs: 0,
  restedMs: 0,
  seen: null,
  works: false,
});

/** The log has grown. */
export const withOutput = (clock: OutputClock, nowMs: number): OutputClock => ({
  ...clock,
  longestMs: longestOutputAgeMs(clock, nowMs),
  grewAtMs: nowMs,
  restedMs: 0,
});

/** The guest has told its usage. It tells the same until it looks again. */
export function withUsage(clock: OutputClock, usage: Usage, nowMs: number): OutputClock {
  const { baseline, seen, grewAtMs, restedMs } = clock;
  if (seen?.usage.atMs === usage.atMs) return clock;
  const rates = seen && ratesBetween(seen.usage, usage);
  const works = rates !== null && baseline !== null && isWork(rates, baseline);
  const spanMs = seen ? nowMs - Math.max(seen.atMs, grewAtMs) : 0;
  return { ...clock, seen: { usage, atMs: nowMs }, works, restedMs: restedMs + (works ? spanMs : 0) };
}

/** For how long the build has been silent without working. */
export function outputAgeMs({ grewAtMs, restedMs, seen, works }: OutputClock, nowMs: number): number {
  const restsSinceMs = works && seen ? Math.max(seen.atMs, grewAtMs) : nowMs;
  const restsMs = Math.min(nowMs - restsSinceMs, PRESUMED_MS);
  return nowMs - grewAtMs - restedMs - restsMs;
}

/** The longest time for which the build was silent without working. The present silence counts too. */
export const longestOutputAgeMs = (clock: OutputClock, nowMs: number): number =>
  Math.max(clock.longestMs, outputAgeMs(clock, nowMs));
