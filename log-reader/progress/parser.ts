/**
 * From the bytes that a build prints to how far it is. Pure and streaming: no clock and no I/O, the time since the
 * build's command began is an argument. Invariants: the percentage never falls and stays below 100; how the bytes are
 * cut changes nothing; no output whatever makes it throw.
 *
 *   bytes → lines → [PHASE] and time prefixes off → the tool that knows the line → the phase it belongs to → time left
 */

import { CURVE_STEPS, HISTORY_PHASES_MAX, type ProgressHistory } from '#contract';
import { createLineReader } from '../lines.ts';
import { BEGINNINGS, EAS_PLANS, factsOf, followersOf, isEasPhase, planOf, runsInside } from '../phases.ts';
import { peel } from '../prefixes.ts';
import { createRecognisers } from '../recognisers/index.ts';
import type { Sighting } from '../recognisers/recogniser.ts';
import { leftInPhase, speedOf } from './estimate.ts';
import { createExpectations } from './expectations.ts';
import { createPhaseLog } from './phase-log.ts';

export interface Progress {
  /** Whole percent, 0 to 99. */
  percent: number;
  /** One name for people. */
  phase: string;
  /** `time` while nothing in the output was understood. */
  origin: 'parsed' | 'time';
  /** Milliseconds left; null without an earlier build to go by. */
  etaMs: number | null;
}

export interface ProgressParser {
  /**
   * `elapsedMs` since the command began; one that runs backwards counts as no time at all. Whoever reads a log again from
   * its start spreads the time over its bytes.
   */
  push(chunk: Uint8Array, elapsedMs: number): void;
  snapshot(elapsedMs: number): Progress;
  /** What to keep for the next build of the project. Worth keeping only if this one succeeded. */
  record(elapsedMs: number): ProgressHistory;
}

export interface ProgressParserOptions {
  history?: ProgressHistory | null;
  /** The build's command: tells without history which phases to expect. */
  command?: string;
  platform?: 'ios' | 'android';
}

const PERCENT_MAX = 99;
/** What speaks for the speed of a build that has just begun, as a share of the whole, and where nothing was learned. */
const SPEED_TRUST_LEARNED = 0.5;
const SPEED_TRUST_TYPICAL_MS = 300_000;
/**
 * Installing is over and nothing tells what follows: at least this much of the time so far is still ahead. The percentage
 * cannot fall, so one that is too high at the start would stand still for most of the build.
 */
const AHEAD_AT_LEAST = 1.5;

const EAS_END = /^Build (?:successful|failed)\b/;

export function createProgressParser(options: ProgressParserOptions = {}): ProgressParser {
  const platform = options.platform ?? 'ios';
  const expectations = createExpectations(options.history ?? null);
  let plan: readonly string[] = options.history?.phases.map(({ id }) => id) ?? planOf(options.command ?? '', platform);
  const told = plan.length > 0;

  const reader = createLineReader();
  const recognise = createRecognisers();
  const log = createPhaseLog(plan[0] ?? 'command');
  let nowMs = 0;
  let shown = 0;
  let understood = false;
  let easPhaseSeen = false;
  let inEas = false;
  /** What the tool inside the current phase is doing, if that has a better name. */
  let detail: string | null = null;

  const enter = (id: string, startedMs: number) => {
    if (log.current.id === id) return;
    log.enter(id, startedMs);
    detail = null;
    if (expectations.learned) return;
    if (!plan.includes(id)) {
      const seen = log.ids();
      const ahead = told ? plan.filter((other) => !seen.includes(other)) : followersOf(id);
      plan = isEasPhase(id) ? EAS_PLANS[platform] : [...seen, ...ahead];
    }
    // Only one of the two has these: the platform given, or assumed, was wrong.
    if (id === 'RUN_GRADLEW' || id === 'FIX_GRADLEW') plan = EAS_PLANS.android;
    if (id === 'RUN_FASTLANE' || id === 'INSTALL_PODS') plan = EAS_PLANS.ios;
  };

  /** The tool has ended: if it is known, not guessed, what comes next, that has begun, even if it is silent at first. */
  const leave = () => {
    log.current.ended = true;
    const next = told ? plan[plan.indexOf(log.current.id) + 1] : undefined;
    if (next !== undefined && plan.includes(log.current.id)) enter(next, nowMs);
  };

  const see = (sighting: Sighting) => {
    const own = factsOf(log.current.id).like ?? log.current.id;
    if (sighting.phase !== own) {
      const nested = inEas || (!log.current.ended && runsInside(log.current.id, sighting.phase));
      if (nested) {
        if (runsInside(own, sighting.phase)) detail = sighting.label ?? factsOf(sighting.phase).label;
        return;
      }
      enter(sighting.phase, nowMs - (sighting.tookMs ?? 0));
    }
    log.work(sighting, nowMs);
    if (sighting.label) detail = sighting.label;
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
      // A command of which nothing is understood: with an earlier build, the number of its lines still tells.
      log.work({ phase: 'command', work: 1 }, nowMs);
    }
  };

  const leftMs = (): number => {
    const { current } = log;
    // How this build compares with what was expected, by the phases that are over.
    let actualMs = 0;
    let expectedMs = 0;
    let wholeMs = 0;
    for (const id of plan) wholeMs += expectations.of(id, plan).durationMs;
    for (const phase of log.phases()) {
      if (phase === current) continue;
      actualMs += phase.elapsedMs;
      expectedMs += expectations.of(phase.id, plan).durationMs;
    }
    const trustMs = expectations.learned ? wholeMs * SPEED_TRUST_LEARNED : SPEED_TRUST_TYPICAL_MS;
    const speed = speedOf(actualMs, expectedMs, trustMs);
    let left = leftInPhase(expectations.of(current.id, plan), log.seen(nowMs), speed);
    for (const id of plan.slice(planIndex() + 1)) {
      const before = log.find(id);
      if (before === current || before?.ended) continue;
      left += Math.max(expectations.of(id, plan).durationMs * speed - (before?.elapsedMs ?? 0), 0);
    }
    const guessed = !told && !easPhaseSeen && BEGINNINGS.has(current.id);
    return guessed ? Math.max(left, nowMs * AHEAD_AT_LEAST) : left;
  };

  /** Where the build is in its plan: at the last of its phases that the plan knows. */
  const planIndex = (): number => {
    const at = plan.indexOf(log.current.id);
    if (at >= 0) return at;
    return Math.max(-1, ...log.ids().map((id) => plan.indexOf(id)));
  };

  /** Nothing was understood, but an earlier build tells how many lines there will be. */
  const followsLines = () => expectations.of('command', plan).work > 0 && (log.find('command')?.work ?? 0) > 0;

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
      return { version: 1, builds: 1, phases };
    },
  };
}
