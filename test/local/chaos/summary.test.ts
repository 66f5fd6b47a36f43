import { expect, test } from 'vitest';
import type { Judgement } from '../../../local/chaos/judge.ts';
import { faultRows, isKept, percentile, promiseRows, type RunFacts, summarise } from '../../../local/chaos/summary.ts';

const facts: RunFacts = {
  ...{
    command: 'npm run chaos',
    seed: 1,
    planned: { builds: 9, faults: 6 },
    workers: 2,
    startedAt: '2026-01-01T00:00:00.000Z',
    durationMs: 120_000,
  },
  machine: { cpus: 2, model: 'a processor', memoryGb: 8, platform: 'linux', node: 'v24' },
  load: { mean: 1, max: 2 },
  left: { vms: [], processes: [] },
  wrongLoads: [],
  ...{ outages: 1, doctorRuns: 0, problems: [] },
};

const judgement = (different: Partial<Judgement> = {}): Judgement => ({
  ...{ number: 1, buildId: 'b_1', kind: null, missed: false, endings: ['succeeded'], causes: [null] },
  ...{ verdictRight: null, causeRight: null, falseKills: 0, stuck: false, lostLogBytes: 0, unsealedLogs: 0 },
  ...{ lostArtifacts: 0 },
  ...{ leakedVms: [], latenessMs: [], succeeded: true, complaints: [], ...different },
});
const frozen = (different: Partial<Judgement> = {}) =>
  judgement({ kind: 'frozen', endings: ['vm_silent'], verdictRight: true, causeRight: true, ...different });

test('judgements are added up by kind', () => {
  const summary = summarise(
    [
      judgement(),
      frozen({ latenessMs: [30] }),
      frozen({ causeRight: false, latenessMs: [10] }),
      judgement({ missed: true }),
    ],
    facts,
  );
  expect(summary.builds).toEqual({ judged: 4, succeeded: 4, attempts: 4 });
  expect(summary.faults).toMatchObject({ injected: 2, missed: 1, perMinute: 1, verdictRight: 2 });
  expect(summary.faults.byKind).toEqual([
    { kind: 'frozen', injected: 2, verdictRight: 2, causeDue: 2, causeRight: 1, endings: { vm_silent: 2 } },
  ]);
  expect(summary.causes).toEqual({ due: 2, right: 1 });
  expect(summary.latenessMs).toEqual({ count: 2, p50: 10, p99: 30, max: 30 });
  expect(faultRows(summary)[1]).toEqual(expect.arrayContaining(['frozen', '2', 'vm_silent 2', '2 of 2', '1 of 2']));
});

test('a wrong verdict or cause breaks the promise, unless it is one of very many', () => {
  const others = (count: number) => Array.from({ length: count }, () => frozen());
  for (const [wrong, among] of [
    [frozen({ verdictRight: false, complaints: ['wrong'] }), 1_000],
    [frozen({ causeRight: false, complaints: ['wrong'] }), 200],
  ] as const) {
    expect(isKept(summarise([wrong, ...others(25)], facts))).toBe(false);
    expect(isKept(summarise([wrong, ...others(among - 2)], facts))).toBe(false);
    const summary = summarise([wrong, ...others(among - 1)], facts);
    expect(isKept(summary)).toBe(true);
    expect(summary.complaints).toEqual([{ build: 1, buildId: 'b_1', kind: 'frozen', complaints: ['wrong'] }]);
  }
});

test('late verdicts break their promise, but do not fail the run: a busy machine is late', () => {
  expect(isKept(summarise([frozen({ latenessMs: [9_000] })], facts))).toBe(true);
  const wrong = frozen({ verdictRight: false, causeRight: false, latenessMs: [9_000], complaints: ['wrong'] });
  const summary = summarise([wrong], facts);
  const unkept = promiseRows(summary).filter(({ kept }) => !kept);
  expect(unkept.map(({ promise }) => promise)).toEqual([
    'the right verdict in at least 99.9 %',
    'the right cause of at least 99.5 % of all verdicts',
    'a verdict at most 1 s after its deadline (p99)',
  ]);
});

test.each([
  ['stuck', { stuck: true }],
  ['falsely killed', { falseKills: 1 }],
  ['a VM left', { leakedVms: ['vm'] }],
  ['log bytes lost', { lostLogBytes: 1 }],
  ['a log never sealed', { unsealedLogs: 1 }],
  ['an artifact lost', { lostArtifacts: 1 }],
])('%s: the promise is broken', (_, different) => {
  const summary = summarise([judgement(), judgement(different)], facts);
  expect(isKept(summary)).toBe(false);
  expect(promiseRows(summary).filter(({ kept }) => !kept)).toHaveLength(1);
});

test('processes and VMs that are left at the end break it too; a VM counts once', () => {
  expect(isKept(summarise([judgement()], { ...facts, left: { vms: [], processes: ['12 tart run'] } }))).toBe(false);
  expect(isKept(summarise([judgement()], { ...facts, wrongLoads: ['{"queued":1}'] }))).toBe(false);
  const twice = summarise([judgement({ leakedVms: ['vm'] })], { ...facts, left: { vms: ['vm'], processes: [] } });
  expect(twice.leakedVms).toEqual(['vm']);
});

test('percentiles are of the nearest rank', () => {
  expect(percentile([], 0.99)).toBeNull();
  expect(percentile([5], 0.99)).toBe(5);
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
  expect([0.5, 0.99, 1].map((share) => percentile(hundred, share))).toEqual([50, 99, 100]);
});
