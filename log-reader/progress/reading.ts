/**
 * Follows a build line by line: its phase, the figures that each phase has shown, and the expected ones.
 *
 *   line → [PHASE] and time prefixes off → the tool that knows the line → the phase it belongs to
 */
import type { ProgressHistory } from '#contract';
import { factsOf, isEasPhase, type PlainPhase, runsInside } from '../phases.ts';
import { peel } from '../prefixes.ts';
import { createRecognisers } from '../recognisers/index.ts';
import type { Sighting } from '../recognisers/recogniser.ts';
import { createExpectations, type Expectations } from './expectations.ts';
import { createPhaseLog, type PhaseLog } from './phase-log.ts';
import { createPlan, type Plan } from './plan.ts';

export interface ReadingOptions {
  history: ProgressHistory | null;
  command: string;
  platform: 'ios' | 'android';
}

export interface Reading {
  read(line: string, nowMs: number): void;
  readonly log: PhaseLog;
  readonly plan: Plan;
  readonly expectations: Expectations;
  readonly state: Readonly<ReadingState>;
}

interface ReadingState {
  /** True once a line was understood. */
  understood: boolean;
  /** True once EAS has named a phase. */
  easSeen: boolean;
  /** EAS names the phases, until it says that the build has ended. */
  inEas: boolean;
  /** A better name than the phase's for the work of the tool, if there is one. */
  detail: string | null;
}

const EAS_END = /^Build (?:successful|failed)\b/;

export function createReading(options: ReadingOptions): Reading {
  const expectations = createExpectations(options.history);
  const plan = createPlan(options);
  const recognise = createRecognisers();
  const log = createPhaseLog(plan.phases[0] ?? 'command');
  const state: ReadingState = { understood: false, easSeen: false, inEas: false, detail: null };

  const enter = (id: string, startedMs: number) => {
    if (log.current.id === id) return;
    log.enter(id, startedMs);
    state.detail = null;
    plan.enter(id, log.ids());
  };

  const enterEas = (phase: string, nowMs: number) => {
    Object.assign(state, { understood: true, easSeen: true, inEas: true });
    enter(phase, nowMs);
  };

  /**
   * The tool has ended. If the next phase is certain, it has begun, even if it prints nothing at first.
   */
  const leave = (nowMs: number) => {
    log.current.ended = true;
    const next = plan.after(log.current.id);
    if (next !== undefined) enter(next, nowMs);
  };

  /** A tool of another phase only runs inside the current phase, so it does not end that phase. */
  const isNested = (phase: PlainPhase) => state.inEas || (!log.current.ended && runsInside(log.current.id, phase));

  const see = (sighting: Sighting, nowMs: number) => {
    const own = factsOf(log.current.id).like ?? log.current.id;
    if (sighting.phase !== own && isNested(sighting.phase)) {
      if (runsInside(own, sighting.phase)) state.detail = labelInside(sighting);
      return;
    }
    if (sighting.phase !== own) enter(sighting.phase, nowMs - (sighting.tookMs ?? 0));
    log.work(sighting, nowMs);
    if (sighting.label) state.detail = sighting.label;
    if (sighting.typicalMs) expectations.learnTypical(sighting.phase, sighting.typicalMs);
    if (sighting.size) expectations.learnSize(sighting.phase, sighting.size);
    if (sighting.ended && !state.inEas) leave(nowMs);
  };

  return {
    log,
    plan,
    expectations,
    state,

    read(line, nowMs) {
      const { easPhase, text } = peel(line);
      log.current.lines++;
      if (easPhase !== null && (state.easSeen || isEasPhase(easPhase))) {
        enterEas(easPhase, nowMs);
      } else if (state.inEas && EAS_END.test(text)) {
        state.inEas = false;
        log.current.ended = true;
      }
      const sighting = recognise(text);
      if (sighting) {
        state.understood = true;
        see(sighting, nowMs);
      } else if (log.current.id === 'command') {
        // No line was understood. With an earlier build, the number of lines still shows the progress.
        log.work({ phase: 'command', work: 1 }, nowMs);
      }
    },
  };
}

const labelInside = ({ labelInside, label, phase }: Sighting): string => labelInside ?? label ?? factsOf(phase).label;
