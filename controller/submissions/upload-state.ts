/**
 * Decides what follows from each result of a step of a submission: the next step, a pause, or the end. Pure.
 *
 * Invariant: the submission ends, with any results. Each step has a time limit, and so have upload and
 * processing as a whole.
 */
import {
  DAY_MS,
  STORE_WORDS_MAX,
  SUBMISSION_WARNINGS_MAX,
  type SubmissionReason,
  type SubmissionState,
} from '#contract';
import { explainReason } from '../stores/reasons.ts';
import { PAUSE_MAX_MS, type Step, type StepData, type StepResult, type StoreSteps, whyLate } from '../stores/step.ts';

/** From the request to the end of the upload. */
const UPLOAD_MAX_MS = DAY_MS;
/** From the end of the upload to the end. */
const PROCESSING_MAX_MS = DAY_MS;
/** For the steps after processing, and the last try of a step whose time is up. */
const LAST_TRY_MS = 60 * 60_000;

export const endsByOf = (createdAt: number): number => createdAt + UPLOAD_MAX_MS + PROCESSING_MAX_MS + LAST_TRY_MS;

const PAUSE_MIN_MS = 2_000;
/** How often a step is repeated after an error that no store has caused. */
const FAULTS_MAX = 8;
/** A step that was begun this often without a result is the one that stops the process each time. */
const STOPPED_MAX = 12;

/** One change of the row, with its entry in the timeline. It may be written twice, and counts once. */
export interface Change {
  /** Tells a repetition from another change. */
  id: string;
  to: SubmissionState;
  /** Null: no entry. */
  says: string | null;
  warnings: string[];
  sentBytes: number;
  storeKeyVersion: number | null;
  reason: SubmissionReason | null;
  storeWords: string | null;
}

/** The record that the object of a submission stores. */
export interface UploadState {
  /** The step that runs next. */
  step: string;
  /** When it became the next one, or its last byte arrived. */
  stepBeganAt: number;
  /** Results of this step in a row that brought it no further. */
  tries: number;
  /** Of those, errors that no store has caused. */
  faults: number;
  /** How often it was begun since its last result: more than 0 means that the process died. */
  begun: number;
  /** Runs in a row that came to no step, because D1 failed. */
  halts: number;
  plain: StepData['plain'];
  /** {@link StepData.secret} as JSON, sealed. */
  secret: string | null;
  uploadBeganAt: number | null;
  processingBeganAt: number | null;
  /** The last error of the store or the network. It is shown if the time runs out. */
  lastWhy: string | null;
  lastSaid: string | null;
  warnings: string[];
  sentBytes: number;
  /** The step that was begun last may have given the app to the store. */
  isGiven: boolean;
  /** Stored here before it is written to D1. */
  pending: Change | null;
  /** Set when the end is decided. `due`: what it left in the store is still to be removed. */
  ended: { cleanUp: 'due' | 'none' } | null;
  alarmAt: number;
}

/** Ends a submission whose end was decided before, but is missing in a restored database. */
export const endedElsewhere = (state: UploadState): UploadState => ({
  ...state,
  pending: { ...changeOf(state, 'failed', null), reason: 'restored' },
});

/** In their order. */
export const UNFINISHED_STATES: readonly SubmissionState[] = ['waiting', 'uploading', 'processing'];

export const isFinalState = (state: SubmissionState): boolean => !UNFINISHED_STATES.includes(state);

/** A submission never goes back, even if its steps begin anew. */
export const later = (one: SubmissionState, other: SubmissionState): SubmissionState =>
  UNFINISHED_STATES.indexOf(one) > UNFINISHED_STATES.indexOf(other) ? one : other;

export const begunState = (first: string, now: number): UploadState => ({
  ...begunStep(first, now),
  ...{ plain: {}, secret: null, uploadBeganAt: null, processingBeganAt: null, lastSaid: null, warnings: [] },
  ...{ sentBytes: 0, isGiven: false, pending: null, ended: null },
});

/** True also for a step that gives the app to the store, until the step has begun once. */
export const isCancellable = ({ isGiven }: Pick<UploadState, 'isGiven'>, { cancellable }: Pick<Step, 'cancellable'>) =>
  cancellable || !isGiven;

/** The pause before the next try. It grows, because a store that is down needs time. */
export const pauseMs = (tries: number): number => Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** Math.min(tries - 1, 16));

/** The result of a run, or its error. `fault`: no store has caused the error. */
export type Outcome = StepResult | { kind: 'fault'; why: string };

/** Facts about the submission that are not in its record. */
export interface Known {
  rowState: SubmissionState;
  createdAt: number;
  endsBy: number;
  now: number;
}

/** The state after `outcome`, and when to go on. The caller seals secret data. */
export function after(
  state: UploadState,
  { steps }: Pick<StoreSteps<never>, 'steps'>,
  outcome: Outcome,
  known: Known,
): UploadState {
  const step = steps[state.step];
  if (!step) return endedAs(state, 'failed', { reason: 'internal', storeWords: null }, known);
  const { now } = known;
  const told = { ...state, begun: 0, halts: 0 };
  switch (outcome.kind) {
    case 'done': {
      const warned = withWarnings(told, outcome.warnings);
      return endedAs(warned, 'done', { says: outcome.says }, known);
    }
    case 'failed':
      return failedAs(told, step, outcome, known);
    case 'next': {
      const next = steps[outcome.step];
      if (!next) return failedAs(told, step, { reason: 'internal', storeWords: `no step ${outcome.step}` }, known);
      const sentBytes = outcome.sentBytes ?? state.sentBytes;
      const isFurther = outcome.step !== state.step || sentBytes > state.sentBytes;
      const moved = withWarnings(
        { ...told, step: outcome.step, plain: outcome.data.plain, sentBytes },
        outcome.warnings,
      );
      if (!isFurther) return again(changed(moved, state, next, known, outcome.says), next, { why: null }, known);
      const begins = next.state === 'processing' ? (state.processingBeganAt ?? now) : state.processingBeganAt;
      const fresh = { stepBeganAt: now, tries: 0, faults: 0, lastWhy: null, processingBeganAt: begins };
      const further = changed({ ...moved, ...fresh, alarmAt: now }, state, next, known, outcome.says);
      return isLate(further, next, known) ? endedLate(further, next, known) : further;
    }
    case 'wait': {
      const waiting = { ...told, plain: outcome.data.plain, faults: 0, lastWhy: null };
      const afterMs = Math.min(PAUSE_MAX_MS, Math.max(1_000, outcome.afterMs));
      return again(changed(waiting, state, step, known, outcome.says), step, { why: null, afterMs }, known);
    }
    case 'retry': {
      const { why, afterMs } = outcome;
      const says = why === state.lastWhy ? undefined : `${why} It is tried again.`;
      return again(changed({ ...told, lastWhy: why }, state, step, known, says), step, { why, afterMs }, known);
    }
    case 'fault': {
      const faults = state.faults + 1;
      if (faults > FAULTS_MAX) return failedAs(told, step, { reason: 'internal', storeWords: outcome.why }, known);
      return again({ ...told, faults }, step, { why: outcome.why }, known);
    }
  }
}

/** The state before a run that the process may not survive. Null: it has stopped the process too often. */
export const begunOnceMore = (state: UploadState): UploadState | null =>
  state.begun >= STOPPED_MAX ? null : { ...state, begun: state.begun + 1 };

/** Begins the steps anew, without the sealed data. `plain` still has the ids of our things in the store. */
export const anew = (state: UploadState, first: string, now: number): UploadState => ({
  ...state,
  ...{ step: first, stepBeganAt: now, tries: 0, faults: 0, begun: 0 },
  ...{ secret: null, alarmAt: now },
});

/** Repeats the step after a pause. When its time is up, it is tried a last time, and then it fails. */
function again(
  state: UploadState,
  step: Step<never>,
  { why, afterMs }: { why: string | null; afterMs?: number | undefined },
  known: Known,
): UploadState {
  const { now } = known;
  if (isLate(state, step, known)) return endedLate({ ...state, lastWhy: why ?? state.lastWhy }, step, known);
  const tries = state.tries + 1;
  // A wait is as long as the step says, and a failure at least as long as the growing pause.
  const pause = why === null && afterMs !== undefined ? afterMs : Math.max(pauseMs(tries), afterMs ?? 0);
  return { ...state, tries, alarmAt: Math.min(now + pause, lateAt(state, step, known)) };
}

/** When the time of the step is up, or that of the upload or processing as a whole. */
export const lateAt = (
  { stepBeganAt, processingBeganAt }: Pick<UploadState, 'stepBeganAt' | 'processingBeganAt'>,
  { state, limitMs, isThere }: Pick<Step, 'state' | 'limitMs' | 'isThere'>,
  { createdAt, endsBy }: Pick<Known, 'createdAt' | 'endsBy'>,
): number => {
  const ofStep = Math.min(stepBeganAt + limitMs, endsBy);
  if (isThere) return ofStep;
  const begun = state === 'processing' ? (processingBeganAt ?? createdAt) : createdAt;
  return Math.min(ofStep, begun + (state === 'processing' ? PROCESSING_MAX_MS : UPLOAD_MAX_MS));
};

const isLate = (state: UploadState, step: Step<never>, known: Known): boolean =>
  known.now >= lateAt(state, step, known);

export function endedLate(state: UploadState, step: Step<never>, known: Known): UploadState {
  return failedAs(state, step, { reason: whyLate(step), storeWords: state.lastWhy }, known);
}

/** The step ends early: the submission fails, or goes on with a warning if the store has the build. */
export function failedAs(
  state: UploadState,
  step: Step<never>,
  words: { reason: SubmissionReason; storeWords?: string | null },
  known: Known,
): UploadState {
  if (!step.isThere) return endedAs(state, 'failed', words, known);
  const { what, next } = step.isThere;
  const why = words.storeWords || `${explainReason(words.reason, null).title}.`;
  const warned = withWarnings(state, [`The store has the build, but this was left out: ${what}. ${why}`]);
  if (next === null) return endedAs(warned, 'done', { says: 'The store has the build.' }, known);
  return changed({ ...warned, ...begunStep(next, known.now) }, state, step, known, undefined);
}

const begunStep = (step: string, now: number) => ({
  ...{ step, stepBeganAt: now, tries: 0, faults: 0, begun: 0, halts: 0, lastWhy: null, alarmAt: now },
});

interface EndWords {
  says?: string;
  reason?: SubmissionReason;
  storeWords?: string | null;
}

/** Decides the end. Nothing changes it any more, even before D1 has it. */
export function endedAs(
  state: UploadState,
  to: 'done' | 'failed' | 'cancelled',
  { says, reason, storeWords }: EndWords,
  { now }: Pick<Known, 'now'>,
): UploadState {
  return {
    ...state,
    begun: 0,
    pending: {
      ...changeOf(state, to, says ?? null),
      reason: reason ?? null,
      storeWords: storeWords?.slice(0, STORE_WORDS_MAX) ?? null,
    },
    ended: { cleanUp: to === 'done' || hasLeftNothing(state) ? 'none' : 'due' },
    alarmAt: now,
  };
}

const hasLeftNothing = ({ uploadBeganAt, plain, secret }: UploadState): boolean =>
  uploadBeganAt === null && secret === null && Object.keys(plain).length === 0;

/** Adds to the state the change that must be written to D1, if there is one. */
function changed(
  state: UploadState,
  was: UploadState,
  step: Step<never>,
  { rowState }: Known,
  says: string | undefined,
): UploadState {
  const to = later(step.state, rowState);
  const isSaid = says !== undefined && says !== state.lastSaid;
  const isMore = state.sentBytes !== was.sentBytes || state.warnings.length > was.warnings.length;
  if (!isSaid && !isMore && to === rowState) return state;
  const words = isSaid ? says : to === rowState ? null : beginning(to);
  return { ...state, ...(isSaid && { lastSaid: says }), pending: changeOf(state, to, words) };
}

/** The words of the timeline for a state that begins, if the step gives none. */
export const beginning = (state: SubmissionState): string =>
  state === 'uploading' ? 'The upload has begun.' : 'The store has the file, and works on it.';

export const changeOf = (
  { warnings, sentBytes }: Pick<UploadState, 'warnings' | 'sentBytes'>,
  to: SubmissionState,
  says: string | null,
): Change => ({
  ...{ id: crypto.randomUUID(), to, says, warnings, sentBytes },
  ...{ storeKeyVersion: null, reason: null, storeWords: null },
});

const withWarnings = (state: UploadState, warnings: readonly string[] = []): UploadState => ({
  ...state,
  warnings: [...new Set([...state.warnings, ...warnings])].slice(0, SUBMISSION_WARNINGS_MAX),
});
