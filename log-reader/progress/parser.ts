/**
 * Turns the bytes that a build prints into its progress. Pure and streaming: it has no clock and no I/O, and
 * gets the time since the build's command began as an argument.
 *
 * Invariant: the percentage never falls and stays below 100. It does not depend on the sizes of the chunks.
 * No output makes the parser throw.
 *
 *   bytes → lines → [PHASE] and time prefixes off → the tool that knows the line → the phase it belongs to →
 *   time left
 */

import { CURVE_STEPS, HISTORY_PHASES_MAX, type ProgressHistory } from '#contract';
import { createLineReader } from '../lines.ts';
import { BEGINNINGS, factsOf, isEasPhase, planOf, runsInside } from '../phases.ts';
import { peel } from '../prefixes.ts';
import { createRecognisers } from '../recognisers/index.ts';
import type { Sighting } from '../recognisers/recogniser.ts';
import { createExpectations } from './expectations.ts';
import { READER, usableHistory } from './history.ts';
import { createPhaseLog } from './phase-log.ts';
import { createPlan } from './plan.ts';
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
 * If installing has ended and nothing tells what follows, at least this share of the time so far is still
 * ahead. The percentage cannot fall, so too high a value at the start would stay the same for most of the
 * build.
 */
const AHEAD_AT_LEAST = 1.5;

const EAS_END = /^Build (?:successful|failed)\b/;

export function createProgressParser(options: ProgressParserOptions = {}): ProgressParser {
  const { command = '', platform = 'ios' } = options;
  const history = usableHistory(options.history ?? null, planOf(command, platform));
  const expectations = createExpectations(history);
  const plan = createPlan({ history, command, platform });
  const reader = createLineReader();
  const recognise = createRecognisers();
  const log = createPhaseLog(plan.phases[0] ?? 'command');
  let nowMs = 0;
  let shown = 0;
  let understood = false;
  let easPhaseSeen = false;
  let inEas = false;
  /** A better name than the phase's for the work of the tool, if there is one. */
  let detail: string | null = null;

  const enter = (id: string, startedMs: number) => {
    if (log.current.id === id) return;
    log.enter(id, startedMs);
    detail = null;
    plan.enter(id, log.ids());
  };

  /**
   * The tool has ended. If the next phase is certain, it has begun, even if it prints nothing at first.
   */
  const leave = () => {
    log.current.ended = true;
    const next = plan.after(log.current.id);
    if (next !== undefined) enter(next, nowMs);
  };

  const see = (sighting: Sighting) => {
    const own = factsOf(log.current.id).like ?? log.current.id;
    if (sighting.phase !== own) {
      const nested = inEas || (!log.current.ended && runsInside(log.current.id, sighting.phase));
      if (nested) {
        if (runsInside(own, sighting.phase))
          detail = sighting.labelInside ?? sighting.label ?? factsOf(sighting.phase).label;
        return;
      }
      enter(sighting.phase, nowMs - (sighting.tookMs ?? 0));
    }
    log.work(sighting, nowMs);
    if (sighting.label) detail = sighting.label;
    if (sighting.typicalMs) expectations.learnTypical(sighting.phase, sighting.typicalMs);
    if (sighting.size) expectations.learnSize(sighting.phase, sighting.size);
    if (sighting.ended && !inEas) leave();
  };

  const onLine = (line: string) => {
    const { easPhase, text } = peel(line);
    log.current.lines++;
    if (easPhase !== null && (easPhaseSeen || isEasPhase(easPhase))) {
      easPhaseSeen = true;
      inEas = true;
      understood = true;
      enter(easPhase, nowMs);
    } else if (inEas && EAS_END.test(text)) {
      inEas = false;
      log.current.ended = true;
    }
    const sighting = recognise(text);
    if (sighting) {
      understood = true;
      see(sighting);
    } else if (log.current.id === 'command') {
      // No line was understood. With an earlier build, the number of lines still shows the progress.
      log.work({ phase: 'command', work: 1 }, nowMs);
    }
  };

  const leftMs = (): number => {
    const { current } = log;
    const left = timeLeft({
      plan: plan.phases,
      at: plan.indexOf(current.id, log.ids()),
      current: { id: current.id, seen: log.seen(nowMs) },
      left: log.left(),
      expected: (id) => expectations.of(id, plan.phases),
      learned: expectations.learned,
    });
    const guessed = !plan.told && !easPhaseSeen && BEGINNINGS.has(current.id);
    return guessed ? Math.max(left, nowMs * AHEAD_AT_LEAST) : left;
  };

  /** For a build of which no line was understood: an earlier build tells how many lines there will be. */
  const followsLines = () => expectations.of('command', plan.phases).work > 0 && (log.find('command')?.work ?? 0) > 0;

  const advance = (elapsedMs: number) => {
    if (Number.isFinite(elapsedMs)) nowMs = Math.max(nowMs, elapsedMs);
  };

  return {
    push(chunk, elapsedMs) {
      advance(elapsedMs);
      reader.push(chunk, onLine);
    },

    snapshot(elapsedMs) {
      advance(elapsedMs);
      const left = leftMs();
      const percent = nowMs + left > 0 ? (100 * nowMs) / (nowMs + left) : 0;
      shown = Math.max(shown, Math.min(Math.floor(percent), PERCENT_MAX));
      return {
        percent: shown,
        phase: detail ?? factsOf(log.current.id).label,
        origin: understood || followsLines() ? 'parsed' : 'time',
        etaMs: expectations.learned ? Math.round(left) : null,
      };
    },

    record(elapsedMs) {
      advance(elapsedMs);
      const phases = log.record(nowMs, CURVE_STEPS).slice(0, HISTORY_PHASES_MAX);
      return { version: 1, builds: 1, reader: READER, phases };
    },
  };
}
