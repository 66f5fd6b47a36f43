/**
 * Follows a build line by line: which phase it is in, what each phase has shown, and what is expected of it.
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
  /** The current work, for people. */
  readonly label: string;
  /** True once a line was understood. */
  readonly understood: boolean;
  /** True once EAS has named a phase. */
  readonly easSeen: boolean;
}

const EAS_END = /^Build (?:successful|failed)\b/;

export function createReading(options: ReadingOptions): Reading {
  const expectations = createExpectations(options.history);
  const plan = createPlan(options);
  const recognise = createRecognisers();
  const log = createPhaseLog(plan.phases[0] ?? 'command');
  let understood = false;
  let easSeen = false;
  let inEas = false;
  /** A better name than the phase's for the work of the tool, if there is one. */
  let detail: string | null = null;

  const enter = (id: string, startedMs: number) => {
    if (log.current.id === id) return;
    log.enter(id, startedMs);
    detail = null;
    plan.enter(id, log.ids());
  };

  const enterEas = (phase: string, nowMs: number) => {
    easSeen = true;
    inEas = true;
    understood = true;
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

  /** Another tool than that of the current phase only runs inside it, so it does not end the phase. */
  const isNested = (phase: PlainPhase) => inEas || (!log.current.ended && runsInside(log.current.id, phase));

  const see = (sighting: Sighting, nowMs: number) => {
    const own = factsOf(log.current.id).like ?? log.current.id;
    if (sighting.phase !== own && isNested(sighting.phase)) {
      if (runsInside(own, sighting.phase)) detail = labelInside(sighting);
      return;
    }
    if (sighting.phase !== own) enter(sighting.phase, nowMs - (sighting.tookMs ?? 0));
    log.work(sighting, nowMs);
    if (sighting.label) detail = sighting.label;
    if (sighting.typicalMs) expectations.learnTypical(sighting.phase, sighting.typicalMs);
    if (sighting.size) expectations.learnSize(sighting.phase, sighting.size);
    if (sighting.ended && !inEas) leave(nowMs);
  };

  return {
    log,
    plan,
    expectations,
    get label() {
      return detail ?? factsOf(log.current.id).label;
    },
    get understood() {
      return understood;
    },
    get easSeen() {
      return easSeen;
    },

    read(line, nowMs) {
      const { easPhase, text } = peel(line);
      log.current.lines++;
      if (easPhase !== null && (easSeen || isEasPhase(easPhase))) {
        enterEas(easPhase, nowMs);
      } else if (inEas && EAS_END.test(text)) {
        inEas = false;
        log.current.ended = true;
      }
      const sighting = recognise(text);
      if (sighting) {
        understood = true;
        see(sighting, nowMs);
      } else if (log.current.id === 'command') {
        // No line was understood. With an earlier build, the number of lines still shows the progress.
        log.work({ phase: 'command', work: 1 }, nowMs);
      }
    },
  };
}

const labelInside = ({ labelInside, label, phase }: Sighting): string => labelInside ?? label ?? factsOf(phase).label;
