/**
 * Adds the judgements of a run up, for `--json` and for the terminal, and says whether the promise was
 * kept. Pure.
 *
 * Invariant: a figure counts only judged builds. Faults that came too late are counted apart.
 */
import { FAULTS, faultOf } from './faults/catalogue.ts';
import type { Judgement } from './judge.ts';
import type { Left } from './leftovers.ts';

interface Load {
  mean: number;
  max: number;
}

export interface RunFacts {
  command: string;
  seed: number;
  /** More than the number of judged builds if the time ran out. */
  planned: { builds: number; faults: number };
  workers: number;
  startedAt: string;
  /** From the first submission to the last judgement. */
  durationMs: number;
  machine: { cpus: number; model: string; memoryGb: number; platform: string; node: string };
  /** The load average of one minute, sampled. It shows how overloaded the machine was. */
  load: Load;
  left: Left;
  /**
   * Rows of `project_load` that differed from a count of the builds at the end. Null if they were not asked
   * for.
   */
  wrongLoads: string[] | null;
  outages: number;
  doctorRuns: number;
  problems: string[];
}

interface KindSummary {
  kind: string;
  injected: number;
  verdictRight: number;
  causeDue: number;
  causeRight: number;
  endings: Record<string, number>;
}

export interface ChaosSummary extends Omit<RunFacts, 'left' | 'wrongLoads'> {
  /** Absent in results of earlier runs. */
  wrongLoads?: string[] | null;
  builds: { judged: number; succeeded: number; attempts: number };
  faults: { injected: number; missed: number; perMinute: number; verdictRight: number; byKind: KindSummary[] };
  /** Counted over all verdicts that a fault has led to. */
  causes: { due: number; right: number };
  falseKills: number;
  stuck: number;
  leakedVms: string[];
  leakedProcesses: string[];
  lostLogBytes: number;
  /** Absent in results of earlier runs. */
  unsealedLogs?: number;
  lostArtifacts: number;
  latenessMs: { count: number; p50: number | null; p99: number | null; max: number | null };
  complaints: { build: number; buildId: string | null; kind: string | null; complaints: string[] }[];
}

export function summarise(judgements: readonly Judgement[], { left, ...facts }: RunFacts): ChaosSummary {
  const sum = (of: (one: Judgement) => number) => judgements.reduce((total, one) => total + of(one), 0);
  const struck = judgements.filter(({ kind }) => kind !== null);
  const byKind = FAULTS.map(({ kind }) => kindSummary(kind, struck)).filter(({ injected }) => injected > 0);
  const causes = struck.flatMap(({ causeRight }) => causeRight ?? []);
  const lateness = judgements.flatMap(({ latenessMs }) => latenessMs).sort((a, b) => a - b);
  return {
    ...facts,
    builds: {
      judged: judgements.length,
      succeeded: judgements.filter(({ succeeded }) => succeeded).length,
      attempts: sum(({ endings }) => endings.length),
    },
    faults: {
      injected: struck.length,
      missed: judgements.filter(({ missed }) => missed).length,
      perMinute: round(struck.length / (facts.durationMs / 60_000)),
      verdictRight: struck.filter(({ verdictRight }) => verdictRight === true).length,
      byKind,
    },
    causes: { due: causes.length, right: causes.filter(Boolean).length },
    falseKills: sum(({ falseKills }) => falseKills),
    stuck: judgements.filter(({ stuck }) => stuck).length,
    leakedVms: [...new Set([...judgements.flatMap(({ leakedVms }) => leakedVms), ...left.vms])],
    leakedProcesses: left.processes,
    lostLogBytes: sum(({ lostLogBytes }) => lostLogBytes),
    unsealedLogs: sum(({ unsealedLogs }) => unsealedLogs),
    lostArtifacts: sum(({ lostArtifacts }) => lostArtifacts),
    latenessMs: {
      count: lateness.length,
      p50: percentile(lateness, 0.5),
      p99: percentile(lateness, 0.99),
      max: lateness.at(-1) ?? null,
    },
    complaints: judgements
      .filter(({ complaints }) => complaints.length > 0)
      .map(({ number, buildId, kind, complaints }) => ({ build: number, buildId, kind, complaints })),
  };
}

/**
 * The shares of right verdicts and causes that count as kept. With fewer than 1,000 verdicts, or 200 causes,
 * none may be wrong.
 */
const RIGHT_VERDICTS = 0.999;
const RIGHT_CAUSES = 0.995;

/**
 * True if every promise was kept, except that of punctual verdicts, because a busy machine alone breaks it.
 */
export const isKept = (summary: ChaosSummary): boolean =>
  promiseRows(summary).every(({ kept, ofTheMachine }) => kept || ofTheMachine === true);

function kindSummary(kind: string, struck: readonly Judgement[]): KindSummary {
  const ofKind = struck.filter((one) => one.kind === kind);
  const due = ofKind.filter(({ causeRight }) => causeRight !== null);
  const endings: Record<string, number> = {};
  for (const one of ofKind) {
    const ending = one.endings[0] ?? 'none';
    endings[ending] = (endings[ending] ?? 0) + 1;
  }
  return {
    kind,
    injected: ofKind.length,
    verdictRight: ofKind.filter(({ verdictRight }) => verdictRight === true).length,
    causeDue: due.length,
    causeRight: due.filter(({ causeRight }) => causeRight).length,
    endings,
  };
}

/** The percentile by nearest rank. `sorted` must be ascending. */
export function percentile(sorted: readonly number[], share: number): number | null {
  return sorted.length === 0 ? null : sorted[Math.ceil(share * sorted.length) - 1]!;
}

const round = (value: number) => Math.round(value * 10) / 10;

/** Rows of the table of faults. The first row is its head. */
export function faultRows({ faults }: ChaosSummary): string[][] {
  const rows = faults.byKind.map(({ kind, injected, verdictRight, causeDue, causeRight, endings }) => [
    kind,
    faultOf(kind).title,
    String(injected),
    Object.entries(endings)
      .sort(([, a], [, b]) => b - a)
      .map(([ending, count]) => `${ending} ${count}`)
      .join(', '),
    `${verdictRight} of ${injected}`,
    causeDue === 0 ? '' : `${causeRight} of ${causeDue}`,
  ]);
  return [['fault', 'what happens', 'times', 'the attempt ended as', 'right', 'right cause'], ...rows];
}

interface PromiseRow {
  promise: string;
  measured: string;
  kept: boolean;
  /** True if it depends on how busy the machine is. */
  ofTheMachine?: true;
}

/** Rows of the table of promises: the promise, the measured value, and whether it was kept. */
export function promiseRows(summary: ChaosSummary): PromiseRow[] {
  const { faults, causes, latenessMs: late } = summary;
  const share = (right: number, all: number) =>
    all === 0 ? 'none due' : `${((100 * right) / all).toFixed(2)} % (${right} of ${all})`;
  const none = (promise: string, count: number) => ({ promise, measured: String(count), kept: count === 0 });
  return [
    none('no build is stuck', summary.stuck),
    none('no healthy build is ended', summary.falseKills),
    none('no VM is left behind', summary.leakedVms.length),
    none('no process is left behind', summary.leakedProcesses.length),
    ...(summary.wrongLoads ? [none('no count of active builds is wrong', summary.wrongLoads.length)] : []),
    none('no byte of the log of a finished build is lost', summary.lostLogBytes),
    none('no log of a finished build stays unsealed', summary.unsealedLogs ?? 0),
    none('no artifact of a finished build is lost', summary.lostArtifacts),
    {
      promise: 'the right verdict in at least 99.9 %',
      measured: share(faults.verdictRight, faults.injected),
      kept: faults.verdictRight >= RIGHT_VERDICTS * faults.injected,
    },
    {
      promise: 'the right cause of at least 99.5 % of all verdicts',
      measured: share(causes.right, causes.due),
      kept: causes.right >= RIGHT_CAUSES * causes.due,
    },
    {
      promise: 'a verdict at most 1 s after its deadline (p99)',
      measured:
        late.count === 0 ? 'none due' : `p50 ${late.p50} ms, p99 ${late.p99} ms, max ${late.max} ms, of ${late.count}`,
      kept: (late.p99 ?? 0) <= 1_000,
      ofTheMachine: true,
    },
  ];
}
