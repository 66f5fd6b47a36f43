import { expect, test } from 'vitest';
import { Tally, type TestResult } from '../../../local/steady/tally.ts';

const passed = (name: string): TestResult => ({ test: name, failed: false, error: '' });
const failed = (name: string): TestResult => ({ test: name, failed: true, error: 'no' });

test('each test that ever failed has a line, the most frequent first', () => {
  const tally = new Tally();
  tally.add({ results: [passed('a'), failed('b')], exitCode: 1, durationMs: 1_400 });
  tally.add({ results: [failed('c'), failed('b')], exitCode: 1, durationMs: 1_000 });
  expect(tally.add({ results: [passed('a'), passed('b')], exitCode: 0, durationMs: 1_000 })).toEqual([]);
  expect(tally.hasFailures).toBe(true);
  expect(tally.lines()).toEqual([
    'failed in 2 of 3 runs: b',
    'failed in 1 of 3 runs: c',
    '3 runs in 3 s, 1 without a failure; 2 tests failed at least once',
  ]);
});

test('a test that fails twice in one run, as in two projects, counts once', () => {
  const tally = new Tally();
  tally.add({ results: [failed('a'), failed('a')], exitCode: 1, durationMs: 0 });
  expect(tally.lines()[0]).toBe('failed in 1 of 1 run: a');
});

test('a run that fails without a failing test is a failure', () => {
  const tally = new Tally();
  const [failure] = tally.add({ results: [passed('a')], exitCode: null, durationMs: 0 });
  expect(failure).toMatchObject({
    test: 'the run failed, and no test of it',
    error: 'vitest ended with exit code null',
  });
  expect(tally.hasFailures).toBe(true);
});

test('runs without a failure are said to be that', () => {
  const tally = new Tally();
  tally.add({ results: [passed('a')], exitCode: 0, durationMs: 2_000 });
  expect(tally.hasFailures).toBe(false);
  expect(tally.lines()).toEqual(['1 run in 2 s, 1 without a failure; 0 tests failed at least once']);
});
