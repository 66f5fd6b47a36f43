/**
 * Records the time and the lines of each phase so far, and the times at which its work appeared.
 *
 * Invariant: its memory has a limit, for any number of phases and any amount of work.
 */
import type { PhaseHistory } from '#contract';
import type { Sighting } from '../recognisers/recogniser.ts';
import type { Seen } from './estimate.ts';

/** Phases come from the build's output, so a build can invent any number of them. */
const PHASES_MAX = 96;
/** When a curve has this many points, every second one is dropped. */
const POINTS_MAX = 512;

export interface PhaseState {
  readonly id: string;
  /** Time spent before it was last entered; the rest is `now - startedMs`. */
  elapsedMs: number;
  lines: number;
  work: number;
  share: number | null;
  ahead: number;
  ended: boolean;
  workAtMs: number;
  /** Amounts of work, and the times in the phase at which they appeared. */
  points: [work: number, atMs: number][];
  stride: number;
}

export interface PhaseLog {
  readonly current: PhaseState;
  enter(id: string, startedMs: number): void;
  work(sighting: Sighting, nowMs: number): void;
  find(id: string): PhaseState | undefined;
  ids(): string[];
  /** All phases except the current one. */
  left(): ReadonlyMap<string, PhaseState>;
  /** The figures of the current phase. */
  seen(nowMs: number): Seen;
  record(nowMs: number, steps: number): PhaseHistory[];
}

export function createPhaseLog(firstId: string): PhaseLog {
  const all = new Map<string, PhaseState>();
  let startedMs = 0;
  let current = create(firstId);
  all.set(firstId, current);

  const inPhaseMs = (nowMs: number) => current.elapsedMs + Math.max(nowMs - startedMs, 0);

  return {
    get current() {
      return current;
    },

    enter(id, atMs) {
      const known = all.get(id);
      if (!known && all.size >= PHASES_MAX) return;
      // A tool that reports how long it ran may take time from the phase before it, but not from earlier
      // phases.
      const from = Math.max(atMs, startedMs);
      current.elapsedMs += from - startedMs;
      startedMs = from;
      current = known ?? create(id);
      current.ended = false;
      current.workAtMs = current.elapsedMs;
      all.set(id, current);
    },

    work(sighting, nowMs) {
      if (current.ended && !sighting.ended) {
        // The same tool runs again on something else, so the progress of the first run no longer counts.
        current.ended = false;
        current.share = null;
      }
      const before = current.work;
      current.work = Math.max(current.work + (sighting.work ?? 0), sighting.done ?? 0);
      if (sighting.share !== undefined && sighting.share >= 0) {
        const share = Math.min(Math.max(current.share ?? 0, sighting.share), 1);
        if (share !== current.share) current.workAtMs = inPhaseMs(nowMs);
        current.share = share;
      }
      current.ahead = sighting.ahead ?? 0;
      if (current.work === before) return;
      current.workAtMs = inPhaseMs(nowMs);
      const last = current.points.at(-1);
      if (last && current.work - last[0] < current.stride) return;
      current.points.push([current.work, current.workAtMs]);
      if (current.points.length < POINTS_MAX) return;
      current.points = current.points.filter((_, index) => index % 2 === 0);
      current.stride = Math.max(current.stride * 2, current.work / POINTS_MAX);
    },

    find: (id) => all.get(id),
    ids: () => [...all.keys()],
    left: () => new Map([...all].filter(([, phase]) => phase !== current)),

    seen(nowMs) {
      const elapsedMs = inPhaseMs(nowMs);
      const { work, share, ahead, ended, workAtMs } = current;
      return { elapsedMs, work, share, ahead, ended, sinceWorkMs: elapsedMs - workAtMs };
    },

    record(nowMs, steps) {
      const times = [...all.values()].map((phase) => ({
        phase,
        durationMs: Math.round(phase === current ? inPhaseMs(nowMs) : phase.elapsedMs),
      }));
      return times
        .filter(({ phase, durationMs }) => durationMs > 0 || phase.lines > 0)
        .map(({ phase, durationMs }) => ({
          id: phase.id,
          durationMs,
          lines: phase.lines,
          work: Math.round(phase.work),
          ...(phase.work >= 1 && durationMs > 0 && { curve: curveOf(phase, durationMs, steps) }),
        }));
    },
  };
}

function create(id: string): PhaseState {
  return {
    id,
    elapsedMs: 0,
    lines: 0,
    work: 0,
    share: null,
    ahead: 0,
    ended: false,
    workAtMs: 0,
    points: [],
    stride: 1,
  };
}

/** Per mille of the duration at which i/steps of the work had been seen. */
function curveOf(phase: PhaseState, durationMs: number, steps: number): number[] {
  const curve: number[] = [];
  let next = 0;
  for (let step = 0; step <= steps; step++) {
    const wanted = (phase.work * step) / steps;
    while (next < phase.points.length - 1 && phase.points[next]![0] < wanted) next++;
    // The last point may have been dropped. The work was complete when its last part appeared.
    const at = step === steps ? phase.workAtMs : (phase.points[next]?.[1] ?? 0);
    curve.push(Math.min(Math.max(Math.round((at / durationMs) * 1_000), curve.at(-1) ?? 0), 1_000));
  }
  return curve;
}
