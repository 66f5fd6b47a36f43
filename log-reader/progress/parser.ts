/**
 * Turns the bytes that a build prints into its progress. Pure and streaming: it has no clock and no I/O, and
 * gets the time since the build's command began as an argument.
 *
 * Invariant: the percentage never falls and stays below 100. It does not depend on the sizes of the chunks.
 * No output makes the parser throw.
 *
 *   bytes → lines → phases (reading.ts) → time left → percentage
 */
import { CURVE_STEPS, HISTORY_PHASES_MAX, type ProgressHistory } from '#contract';
import { createLineReader } from '../lines.ts';
import { BEGINNINGS, factsOf, planOf } from '../phases.ts';
import { READER, usableHistory } from './history.ts';
import { createReading, type Reading } from './reading.ts';
import { timeLeft } from './time-left.ts';

export interface Progress {
  /** Whole percent, 0 to 99. */
  percent: number;
  /** One name for people. */
  phase: string;
  /** `time` while nothing in the output was understood. */
  origin: 'parsed' | 'time';
  /** Milliseconds left; null without an earlier build. */
  etaMs: number | null;
}

export interface ProgressParser {
  /**
   * `elapsedMs` is the time since the command began. If it runs backwards, no time has passed. A caller that
   * reads a log again from its start spreads the time over the bytes.
   */
  push(chunk: Uint8Array, elapsedMs: number): void;
  snapshot(elapsedMs: number): Progress;
  /** The record for the next build of the project. Keep it only if this build succeeded. */
  record(elapsedMs: number): ProgressHistory;
}

export interface ProgressParserOptions {
  history?: ProgressHistory | null;
  /** The build's command. Without history it decides which phases to expect. */
  command?: string;
  platform?: 'ios' | 'android';
}

const PERCENT_MAX = 99;
/**
 * If installing has ended and the next phase is unknown, at least this share of the time so far is still
 * ahead. The percentage cannot fall, so too high a value at the start would stay the same for most of the
 * build.
 */
const AHEAD_AT_LEAST = 1.5;

export function createProgressParser(options: ProgressParserOptions = {}): ProgressParser {
  const { command = '', platform = 'ios' } = options;
  const history = usableHistory(options.history ?? null, planOf(command, platform));
  const lines = createLineReader();
  const reading = createReading({ history, command, platform });
  let nowMs = 0;
  let shown = 0;

  const advance = (elapsedMs: number) => {
    if (Number.isFinite(elapsedMs)) nowMs = Math.max(nowMs, elapsedMs);
  };

  return {
    push(chunk, elapsedMs) {
      advance(elapsedMs);
      lines.push(chunk, (line) => reading.read(line, nowMs));
    },

    snapshot(elapsedMs) {
      advance(elapsedMs);
      const left = leftMs(reading, nowMs);
      const percent = nowMs + left > 0 ? (100 * nowMs) / (nowMs + left) : 0;
      shown = Math.max(shown, Math.min(Math.floor(percent), PERCENT_MAX));
      return {
        percent: shown,
        phase: reading.state.detail ?? factsOf(reading.log.current.id).label,
        origin: reading.state.understood || followsLines(reading) ? 'parsed' : 'time',
        etaMs: reading.expectations.learned ? Math.round(left) : null,
      };
    },

    record(elapsedMs) {
      advance(elapsedMs);
      const phases = reading.log.record(nowMs, CURVE_STEPS).slice(0, HISTORY_PHASES_MAX);
      return { version: 1, builds: 1, reader: READER, phases };
    },
  };
}

function leftMs({ log, plan, expectations, state }: Reading, nowMs: number): number {
  const { current } = log;
  const left = timeLeft({
    plan: plan.phases,
    at: plan.indexOf(current.id, log.ids()),
    current: { id: current.id, seen: log.seen(nowMs) },
    left: log.left(),
    expected: (id) => expectations.of(id, plan.phases),
    learned: expectations.learned,
  });
  const guessed = !plan.told && !state.easSeen && BEGINNINGS.has(current.id);
  return guessed ? Math.max(left, nowMs * AHEAD_AT_LEAST) : left;
}

/** For a build without an understood line, if an earlier build tells how many lines there will be. */
const followsLines = ({ log, plan, expectations }: Reading): boolean =>
  expectations.of('command', plan.phases).work > 0 && (log.find('command')?.work ?? 0) > 0;
