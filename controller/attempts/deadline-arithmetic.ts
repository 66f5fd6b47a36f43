/**
 * When silence becomes a verdict: the arithmetic of one attempt's deadlines. Pure: `now` is an argument, every change
 * is a new record. BuildDeadline (build-deadline.ts) stores the record and owns the alarm.
 *
 * Invariant: a deadline moves only for a beat, or once for a late alarm; nothing else gives an attempt more time.
 */
import {
  agentIntervalMs,
  DEFAULT_TIMEOUTS,
  type Deadline,
  type Heartbeat,
  type Progress,
  STAGES,
  type Stage,
  type Timeouts,
  type Verdict,
} from '#contract';

/** One clock a timeout; the order decides between deadlines that pass at the same moment. */
const CLOCKS = {
  worker: { name: 'workerTimeout', verdict: 'worker_lost' },
  heartbeat: { name: 'heartbeatTimeout', verdict: 'vm_silent' },
  boot: { name: 'bootTimeout', verdict: 'boot_timeout' },
  noOutput: { name: 'noOutputTimeout', verdict: 'no_output' },
  build: { name: 'buildTimeout', verdict: 'build_timeout' },
} as const satisfies Record<string, { name: Deadline['name']; verdict: Verdict }>;
type Clock = keyof typeof CLOCKS;

/** The stored record of an attempt that runs. Times are milliseconds since 1970. */
export interface Armed {
  state: 'armed';
  attempt: number;
  timeouts: Timeouts;
  claimedAt: number;
  stage: Stage;
  /** What is shown of `phases`. */
  phase: string | null;
  /** The last one of each origin, as with the figures. Absent in records of older controllers. */
  phases?: Partial<Record<Progress['origin'], string>>;
  /** The last figure of each origin; `shown` never falls. */
  figures: Partial<Record<Progress['origin'], number>>;
  shown: Progress | null;
  /** When the agent expects the command to end. */
  endExpectedAt: number | null;
  vmBeatAt: number | null;
  agentBeatAt: number | null;
  /** When the log last grew; null while the agent cannot read it, and before the command runs. */
  outputGrewAt: number | null;
  /** Extra time given for a late alarm, valid for as long as no newer beat has come. */
  graces: Partial<Record<Clock, { basis: number; until: number }>>;
  /** When the alarm is set for. */
  alarmAt: number;
  /** A verdict that is being written to D1: from now on the row says whether the attempt still runs. */
  judging: { verdict: Verdict; dueAt: number } | null;
}

/** Never emptied: an ended attempt refuses what comes late without asking D1. */
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

/** Which moment each clock counts from now; null: it rests. */
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

/** The beat after which a clock may be given extra time again. */
const basis = (record: Armed, clock: Clock): number => {
  if (clock === 'build') return record.claimedAt;
  return (clock === 'heartbeat' || clock === 'boot' ? record.vmBeatAt : record.agentBeatAt) ?? record.claimedAt;
};

interface Due {
  clock: Clock;
  at: number;
}

/** Every running deadline, earliest first. */
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
  deadlines(record).map(({ clock, at }) => ({ ...CLOCKS[clock], at: new Date(at).toISOString() }));

export type Judgement =
  | { kind: 'wait'; record: Armed }
  /** The platform was away: passed deadlines have moved. */
  | { kind: 'grace'; record: Armed }
  | { kind: 'verdict'; verdict: Verdict; dueAt: number };

/**
 * What an alarm that runs at `now` finds.
 *
 * @param lateMs how much later than it was set for the alarm runs; 0 for a repeated try of the same judgement
 */
export function judge(record: Armed, now: number, lateMs: number): Judgement {
  let passed = deadlines(record).filter(({ at }) => at <= now);
  if (passed.length === 0) return { kind: 'wait', record };
  const heartbeatTimeoutMs = record.timeouts.heartbeatTimeoutMs ?? DEFAULT_TIMEOUTS.heartbeatTimeoutMs;
  if (lateMs > Math.max(1_000, heartbeatTimeoutMs / 24)) {
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

/** A VM whose host fell silent too is not to blame: then the worker is lost. */
function verdictOf(record: Armed, clock: Clock, now: number): Verdict {
  const { timeouts } = record;
  if ((clock === 'heartbeat' || clock === 'boot') && timeouts.workerTimeoutMs !== null) {
    const heartbeatTimeoutMs = timeouts.heartbeatTimeoutMs ?? DEFAULT_TIMEOUTS.heartbeatTimeoutMs;
    const agentSilenceMs = now - (record.agentBeatAt ?? record.claimedAt);
    if (agentSilenceMs > Math.max(2 * agentIntervalMs(timeouts), heartbeatTimeoutMs / 8)) return 'worker_lost';
  }
  return CLOCKS[clock].verdict;
}

/** The record after an accepted beat. */
export function withBeat(record: Armed, beat: Heartbeat, now: number): Armed {
  const next: Armed = { ...record, ...phased(record, beat) };
  if (beat.progress !== undefined) Object.assign(next, progressed(record, beat, beat.progress));
  if (beat.source !== 'agent') return { ...next, vmBeatAt: now };
  next.agentBeatAt = now;
  next.endExpectedAt = beat.etaMs === undefined ? null : now + beat.etaMs;
  // Stages only go forward: an agent that was restarted must not switch a clock on again.
  if (beat.stage && STAGES.indexOf(beat.stage) > STAGES.indexOf(record.stage)) next.stage = beat.stage;
  next.outputGrewAt = beat.outputAgeMs === undefined ? null : now - beat.outputAgeMs;
  return next;
}

/** What goes before what. */
const ORIGINS = ['script', 'parsed', 'time'] as const satisfies Progress['origin'][];
const originOf = ({ origin, source }: Heartbeat) => origin ?? (source === 'agent' ? 'parsed' : 'script');

/** A phase that a script has named is not taken from it by the one parsed from the log. */
function phased(record: Armed, beat: Heartbeat): Pick<Armed, 'phase' | 'phases'> {
  const phases = { ...record.phases, [originOf(beat)]: beat.phase };
  const best = ORIGINS.find((candidate) => phases[candidate] !== undefined);
  return { phases, phase: best ? phases[best]! : record.phase };
}

/** Shown is the script's own figure, else the one parsed from the log, else the estimate from time; never less than before. */
function progressed(record: Armed, beat: Heartbeat, progress: number): Pick<Armed, 'figures' | 'shown'> {
  const figures = { ...record.figures, [originOf(beat)]: Math.min(99, Math.floor(progress)) };
  const best = ORIGINS.find((candidate) => figures[candidate] !== undefined)!;
  const percent = Math.max(figures[best]!, record.shown?.percent ?? 0);
  return { figures, shown: { percent, origin: best } };
}
