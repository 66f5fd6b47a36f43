import { expect, test } from 'vitest';
import { EVEN_CURVE } from '../../../log-reader/phases.ts';
import type { Expectation } from '../../../log-reader/progress/estimate.ts';
import { type Standing, timeLeft } from '../../../log-reader/progress/time-left.ts';

const expected = (id: string): Expectation => ({
  durationMs: { install: 20_000, pods: 100_000, xcode: 1_000_000 }[id] ?? 500,
  work: 0,
  curve: EVEN_CURVE,
  learned: true,
});

const standing = (over: Partial<Standing> = {}): Standing => ({
  plan: ['install', 'pods', 'xcode'],
  at: 0,
  current: { id: 'install', seen: { elapsedMs: 0, work: 0, share: null, ahead: 0, sinceWorkMs: 0, ended: false } },
  left: new Map(),
  expected,
  learned: true,
  ...over,
});

const within = (id: string, elapsedMs: number, ended = false): Standing['current'] => ({
  id,
  seen: { elapsedMs, work: 0, share: null, ahead: 0, sinceWorkMs: 0, ended },
});

test('at the start, all phases are left', () => {
  expect(timeLeft(standing())).toBeCloseTo(1_120_000, -4);
});

test('a phase that has ended takes no more time, nor does one that the plan has passed', () => {
  const left = new Map([['install', { elapsedMs: 20_000, ended: true }]]);
  expect(timeLeft(standing({ at: 1, current: within('pods', 100_000, true), left }))).toBeCloseTo(1_000_000, -4);
});

test('a phase that was entered before is counted for what it has not used yet', () => {
  const left = new Map([['xcode', { elapsedMs: 400_000, ended: false }]]);
  const back = timeLeft(standing({ at: 1, current: within('pods', 0), left, learned: false }));
  expect(back).toBeLessThan(timeLeft(standing({ at: 1, current: within('pods', 0) })));
});

test('a build that was slow so far is expected to stay slow', () => {
  const slow = new Map([['pods', { elapsedMs: 2_000_000, ended: true }]]);
  const usual = new Map([['pods', { elapsedMs: 100_000, ended: true }]]);
  const at = (left: Standing['left']) => timeLeft(standing({ at: 2, current: within('xcode', 0), left }));
  expect(at(slow)).toBeGreaterThan(2 * at(usual));
});

test('without a plan, only the current phase is left', () => {
  expect(timeLeft(standing({ plan: [], at: -1, current: within('xcode', 10_000), learned: false }))).toBeCloseTo(
    990_000,
    -4,
  );
});
