import { expect, test } from 'vitest';
import { DEFAULT_TIMEOUTS, type Heartbeat } from '#contract';
import { type Armed, armed, deadlines, judge, nextDeadlineAt, withBeat } from '../../../controller/attempts/silence.ts';

const T0 = 1_000_000;
const S = 1_000;
const fresh = (timeouts: Partial<Armed['timeouts']> = {}) => armed(1, { ...DEFAULT_TIMEOUTS, ...timeouts }, T0);
const vm = (record: Armed, at: number, beat: Heartbeat = {}) => withBeat(record, { ...beat, source: 'vm' }, at);
const agent = (record: Armed, at: number, beat: Heartbeat = {}) => withBeat(record, { ...beat, source: 'agent' }, at);
const clocks = (record: Armed) => deadlines(record).map(({ clock }) => clock);

test('from the claim the worker, boot and build clocks run', () => {
  expect(deadlines(fresh())).toEqual([
    { clock: 'worker', at: T0 + 120 * S },
    { clock: 'boot', at: T0 + 600 * S },
    { clock: 'build', at: T0 + 7200 * S },
  ]);
});

test('the first VM beat ends the boot clock and starts the heartbeat clock', () => {
  const record = vm(fresh(), T0 + 50 * S);
  expect(clocks(record)).toEqual(['worker', 'heartbeat', 'build']);
  expect(deadlines(record)[1]?.at).toBe(T0 + 170 * S);
});

test('the output clock runs only while the command does and the agent can read the log', () => {
  let record = agent(vm(fresh(), T0), T0 + S, { stage: 'checking', outputAgeMs: 0 });
  expect(clocks(record)).not.toContain('noOutput');
  record = agent(record, T0 + 2 * S, { stage: 'building', outputAgeMs: 500 });
  expect(deadlines(record)).toContainEqual({ clock: 'noOutput', at: T0 + 2 * S - 500 + 900 * S });
  record = agent(record, T0 + 3 * S, { stage: 'building' });
  expect(clocks(record)).not.toContain('noOutput');
});

test('from collecting on, VM and output clocks are off', () => {
  const record = agent(vm(fresh(), T0), T0 + S, { stage: 'collecting', outputAgeMs: 0 });
  expect(clocks(record)).toEqual(['worker', 'build']);
});

test('a stage never goes back', () => {
  const record = agent(agent(fresh(), T0, { stage: 'collecting' }), T0 + S, { stage: 'building', outputAgeMs: 0 });
  expect(record.stage).toBe('collecting');
});

test('a timeout that is off has no deadline', () => {
  const off = { workerTimeoutMs: null, bootTimeoutMs: null, noOutputTimeoutMs: null, buildTimeoutMs: null };
  expect(nextDeadlineAt(fresh(off))).toBe(Number.POSITIVE_INFINITY);
  expect(clocks(vm(fresh(off), T0))).toEqual(['heartbeat']);
});

test('never before its deadline, and at its deadline', () => {
  const record = agent(vm(fresh(), T0 + 10 * S), T0 + 125 * S);
  expect(judge(record, T0 + 130 * S - 1, 0).kind).toBe('wait');
  expect(judge(record, T0 + 130 * S, 0)).toEqual({ kind: 'verdict', verdict: 'vm_silent', dueAt: T0 + 130 * S });
});

test('a VM whose agent fell silent as well is a lost worker', () => {
  const record = agent(vm(fresh(), T0 + 10 * S), T0 + 12 * S);
  expect(judge(record, T0 + 130 * S, 0)).toMatchObject({ kind: 'verdict', verdict: 'worker_lost' });
});

test('…but not while workerTimeout is off', () => {
  const record = vm(fresh({ workerTimeoutMs: null }), T0);
  expect(judge(record, T0 + 120 * S, 0)).toMatchObject({ kind: 'verdict', verdict: 'vm_silent' });
});

test('an agent that is late by less than two beats leaves the verdict with the VM', () => {
  const record = agent(vm(fresh(), T0), T0 + 120 * S - 15 * S);
  expect(judge(record, T0 + 120 * S, 0)).toMatchObject({ verdict: 'vm_silent' });
  expect(judge(agent(record, T0 + 120 * S - 15 * S - 1), T0 + 120 * S, 0)).toMatchObject({ verdict: 'worker_lost' });
});

test('the deadline that passed first gives the verdict', () => {
  const record = agent(vm(fresh({ buildTimeoutMs: 100 * S }), T0 + 5 * S), T0 + 124 * S);
  expect(judge(record, T0 + 125 * S, 0)).toMatchObject({ verdict: 'build_timeout', dueAt: T0 + 100 * S });
});

test('a late alarm moves every passed deadline to now + heartbeatTimeout, once', () => {
  const record = agent(vm(fresh(), T0), T0);
  const now = T0 + 500 * S;
  const first = judge(record, now, 380 * S);
  if (first.kind !== 'grace') throw new Error(first.kind);
  expect(
    deadlines(first.record)
      .slice(0, 2)
      .map(({ at }) => at),
  ).toEqual([now + 120 * S, now + 120 * S]);
  const again = judge(first.record, now + 500 * S, 380 * S);
  expect(again).toMatchObject({ kind: 'verdict', dueAt: now + 120 * S });
});

test('after a newer beat a late alarm is forgiven again, but only for the clocks of that source', () => {
  const now = T0 + 500 * S;
  const first = judge(agent(vm(fresh(), T0), T0), now, 380 * S);
  if (first.kind !== 'grace') throw new Error(first.kind);
  const beaten = agent(first.record, now + S);
  expect(judge(beaten, now + 400 * S, 200 * S)).toMatchObject({ kind: 'verdict', dueAt: now + 120 * S });
  const both = vm(beaten, now + S);
  expect(judge(both, now + 400 * S, 200 * S).kind).toBe('grace');
});

test('buildTimeout is moved once per attempt, whatever beats', () => {
  const record = agent(vm(fresh({ buildTimeoutMs: 60 * S }), T0), T0);
  const first = judge(record, T0 + 70 * S, 10 * S);
  if (first.kind !== 'grace') throw new Error(first.kind);
  const beaten = agent(vm(first.record, T0 + 180 * S), T0 + 180 * S);
  expect(judge(beaten, T0 + 250 * S, 60 * S)).toMatchObject({ kind: 'verdict', verdict: 'build_timeout' });
});

test('an alarm that is late by no more than max(1 s, heartbeatTimeout / 24) is not late', () => {
  const record = agent(vm(fresh(), T0), T0 + 119 * S);
  expect(judge(record, T0 + 125 * S, 5 * S).kind).toBe('verdict');
  expect(judge(record, T0 + 125 * S, 5 * S + 1).kind).toBe('grace');
});

test('progress never falls, stays below 100, and the script’s figure comes before the parsed one before the time', () => {
  let record = vm(fresh(), T0, { progress: 20, origin: 'time' });
  expect(record.shown).toEqual({ percent: 20, origin: 'time' });
  record = agent(record, T0, { progress: 12, origin: 'parsed' });
  expect(record.shown).toEqual({ percent: 20, origin: 'parsed' });
  record = vm(record, T0, { progress: 100 });
  expect(record.shown).toEqual({ percent: 99, origin: 'script' });
});

test('a phase that a script named stays until the script says otherwise; the figure goes with it', () => {
  let record = agent(fresh(), T0, { progress: 7, origin: 'parsed', phase: 'Installing pods' });
  expect([record.phase, record.shown]).toEqual(['Installing pods', { percent: 7, origin: 'parsed' }]);
  record = vm(record, T0 + S, { progress: 30, origin: 'script', phase: 'Archiving' });
  record = agent(record, T0 + 2 * S, { progress: 9, origin: 'parsed', phase: 'Compiling native code' });
  expect([record.phase, record.shown]).toEqual(['Archiving', { percent: 30, origin: 'script' }]);
  record = vm(record, T0 + 3 * S, { progress: 40, origin: 'script' });
  expect([record.phase, record.shown]).toEqual(['Compiling native code', { percent: 40, origin: 'script' }]);
  const { phases: _, ...older } = record;
  expect(vm(older, T0 + 4 * S).phase).toBe('Compiling native code');
});
