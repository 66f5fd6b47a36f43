/**
 * Computes when silence becomes a verdict, from one attempt's record. Pure: `now` is an argument, and every
 * change makes a new record. build-deadline.ts stores the record and owns the alarm.
 *
 * Invariant: a deadline moves only for a beat, or once for a late alarm. Nothing else gives an attempt more
 * time.
 */
import {
  agentIntervalMs,
  type Deadline,
  type Heartbeat,
  limitOrDefaultMs,
  type Progress,
  STAGES,
  type Stage,
  type Timeouts,
  type Verdict,
} from '#contract';
import { iso } from '../times.ts';

/** One clock for each timeout. The order decides between deadlines that pass at the same moment. */
const CLOCKS = {
  worker: { name: 'workerTimeout', verdict: 'worker_lost' },
  heartbeat: { name: 'heartbeatTimeout', verdict: 'vm_silent' },
  boot: { name: 'bootTimeout', verdict: 'boot_timeout' },
  noOutput: { name: 'noOutputTimeout', verdict: 'no_output' },
  build: { name: 'buildTimeout', verdict: 'build_timeout' },
} as const satisfies Record<string, { name: Deadline['name']; verdict: Verdict }>;
type Clock = keyof typeof CLOCKS;

/** The stored record of a running attempt. Times are milliseconds since 1970. */
export interface Armed {
  state: 'armed';
  attempt: number;
  timeouts: Timeouts;
  claimedAt: number;
  stage: Stage;
  /** The phase that is shown, one of `phases`. */
  phase: string | null;
  /** The last phase of each origin. Absent in records that an older controller wrote. */
  phases?: Partial<Record<Progress['origin'], string>>;
  /** The last percentage of each origin. `shown` never falls. */
  figures: Partial<Record<Progress['origin'], number>>;
  shown: Progress | null;
  /** When the agent expects the command to end. */
  endExpectedAt: number | null;
  vmBeatAt: number | null;
  agentBeatAt: number | null;
  /**
   * When the log last grew, plus the time in which the VM has worked since without printing anything. Null
   * while the agent cannot read the log, and before the command runs.
   */
  outputGrewAt: number | null;
  /** Extra time for a late alarm. It counts until the next beat. */
  graces: Partial<Record<Clock, { basis: number; until: number }>>;
  /** The moment for which the alarm is set. */
  alarmAt: number;
  /**
   * A verdict that is being written to D1. From now on D1 says whether the attempt still runs. `tries` is
   * absent in records that an older controller wrote.
   */
  judging: { verdict: Verdict; dueAt: number; tries?: number } | null;
}

/** Kept for ever, so that beats of an ended attempt are refused without asking D1. */
export interface Ended {
  state: 'ended';
  attempt: number;
}

export type DeadlineRecord = Armed | Ended;

export const armed = (attempt: number, timeouts: Timeouts, claimedAt: number): Armed => ({
  state: 'armed',
  attempt,
  timeouts,
  claimedAt,
  stage: 'booting',
  phase: null,
  figures: {},
  shown: null,
  endExpectedAt: null,
  vmBeatAt: null,
  agentBeatAt: null,
  outputGrewAt: null,
  graces: {},
  alarmAt: Number.POSITIVE_INFINITY,
  judging: null,
});

/** The moment from which each clock counts. Null: this clock does not run. */
function starts(record: Armed): Record<Clock, number | null> {
  const collecting = record.stage === 'collecting';
  return {
    worker: record.agentBeatAt ?? record.claimedAt,
    heartbeat: collecting ? null : record.vmBeatAt,
    boot: record.vmBeatAt === null && !collecting ? record.claimedAt : null,
    noOutput: record.stage === 'building' ? record.outputGrewAt : null,
    build: record.claimedAt,
  };
}

/** The beat for which a clock may get extra time once. A newer beat allows it once more. */
const basis = (record: Armed, clock: Clock): number => {
  if (clock === 'build') return record.claimedAt;
  return (clock === 'heartbeat' || clock === 'boot' ? record.vmBeatAt : record.agentBeatAt) ?? record.claimedAt;
};

interface Due {
  clock: Clock;
  at: number;
}

/** The deadlines of all clocks that run, earliest first. */
export function deadlines(record: Armed): Due[] {
  const from = starts(record);
  return (Object.keys(CLOCKS) as Clock[])
    .flatMap((clock) => {
      const start = from[clock];
      const timeoutMs = record.timeouts[`${CLOCKS[clock].name}Ms`];
      if (start === null || timeoutMs === null) return [];
      const grace = record.graces[clock];
      const graceUntil = grace?.basis === basis(record, clock) ? grace.until : 0;
      return [{ clock, at: Math.max(start + timeoutMs, graceUntil) }];
    })
    .sort((a, b) => a.at - b.at);
}

export const nextDeadlineAt = (record: Armed): number => deadlines(record)[0]?.at ?? Number.POSITIVE_INFINITY;

export const viewDeadlines = (record: Armed): Deadline[] =>
  deadlines(record).map(({ clock, at }) => ({ ...CLOCKS[clock], at: iso(at) }));

/**
 * The platform was away if an alarm runs later than this, and later than 1/24 of the heartbeat timeout (5 s
 * by default).
 */
const LATE_MIN_MS = 1_000;

export type Judgement =
  | { kind: 'wait'; record: Armed }
  /** The platform was away, so deadlines that had passed have moved. */
  | { kind: 'grace'; record: Armed }
  | { kind: 'verdict'; verdict: Verdict; dueAt: number };

/**
 * Judges the record when the alarm runs at `now`.
 *
 * @param lateMs how long after its set time the alarm runs; 0 for a repeated try of the same judgement
 */
export function judge(record: Armed, now: number, lateMs: number): Judgement {
  let passed = deadlines(record).filter(({ at }) => at <= now);
  if (passed.length === 0) return { kind: 'wait', record };
  const heartbeatTimeoutMs = limitOrDefaultMs(record.timeouts, 'heartbeatTimeoutMs');
  if (lateMs > Math.max(LATE_MIN_MS, heartbeatTimeoutMs / 24)) {
    const used = ({ clock }: Due) => record.graces[clock]?.basis === basis(record, clock);
    const until = now + heartbeatTimeoutMs;
    const graces = { ...record.graces };
    for (const due of passed) if (!used(due)) graces[due.clock] = { basis: basis(record, due.clock), until };
    passed = passed.filter(used);
    if (passed.length === 0) return { kind: 'grace', record: { ...record, graces } };
  }
  const first = passed[0]!;
  return { kind: 'verdict', verdict: verdictOf(record, first.clock, now), dueAt: first.at };
}

/** If the agent on the VM's host is silent too, the worker is lost, and the VM is not to blame. */
function verdictOf(record: Armed, clock: Clock, now: number): Verdict {
  const { timeouts } = record;
  if ((clock === 'heartbeat' || clock === 'boot') && timeouts.workerTimeoutMs !== null) {
    const heartbeatTimeoutMs = limitOrDefaultMs(timeouts, 'heartbeatTimeoutMs');
    const agentSilenceMs = now - (record.agentBeatAt ?? record.claimedAt);
    if (agentSilenceMs > Math.max(2 * agentIntervalMs(timeouts), heartbeatTimeoutMs / 8)) return 'worker_lost';
  }
  return CLOCKS[clock].verdict;
}

/** Returns the record after an accepted beat. */
export function withBeat(record: Armed, beat: Heartbeat, now: number): Armed {
  const next: Armed = { ...record, ...phased(record, beat) };
  if (beat.progress !== undefined) Object.assign(next, progressed(record, beat, beat.progress));
  if (beat.source !== 'agent') return { ...next, vmBeatAt: now };
  next.agentBeatAt = now;
  next.endExpectedAt = beat.etaMs === undefined ? null : now + beat.etaMs;
  // Stages only advance, because an agent that was restarted must not start a clock again.
  if (beat.stage && STAGES.indexOf(beat.stage) > STAGES.indexOf(record.stage)) next.stage = beat.stage;
  next.outputGrewAt = beat.outputAgeMs === undefined ? null : now - beat.outputAgeMs;
  return next;
}

/** The origins, with the one that is shown first at the start. */
const ORIGINS = ['script', 'parsed', 'time'] as const satisfies Progress['origin'][];
const originOf = ({ origin, source }: Heartbeat) => origin ?? (source === 'agent' ? 'parsed' : 'script');

/** A phase that a script named stays, even if the log's parser names another. */
function phased(record: Armed, beat: Heartbeat): Pick<Armed, 'phase' | 'phases'> {
  const phases = { ...record.phases, [originOf(beat)]: beat.phase };
  const best = ORIGINS.find((candidate) => phases[candidate] !== undefined);
  return { phases, phase: best ? phases[best]! : record.phase };
}

/**
 * Shows the script's own figure, else the one parsed from the log, else the estimate from time; never less
 * than before.
 */
function progressed(record: Armed, beat: Heartbeat, progress: number): Pick<Armed, 'figures' | 'shown'> {
  const figures = { ...record.figures, [originOf(beat)]: Math.min(99, Math.floor(progress)) };
  const best = ORIGINS.find((candidate) => figures[candidate] !== undefined)!;
  const percent = Math.max(figures[best]!, record.shown?.percent ?? 0);
  return { figures, shown: { percent, origin: best } };
}
