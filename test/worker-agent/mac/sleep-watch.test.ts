import { expect, test } from 'vitest';
import { longestSleep } from '../../../worker-agent/mac/sleep-watch.ts';

const NOW_MS = 1_000_000;

test('a process that always ran has not slept', () => {
  expect(longestSleep([], NOW_MS, 120_000)).toBeNull();
});

test('a sleep is told with its length and the time since its end', () => {
  const gaps = [{ gapMs: 60_000, endedAtMs: NOW_MS - 5_000 }];
  expect(longestSleep(gaps, NOW_MS, 120_000)).toEqual({ asleepMs: 60_000, awakeMs: 5_000 });
});

test('a longer sleep of long ago does not hide the one of just now, and is told where there is no other', () => {
  const old = { gapMs: 600_000, endedAtMs: NOW_MS - 300_000 };
  const recent = { gapMs: 70_000, endedAtMs: NOW_MS - 1_000 };
  expect(longestSleep([old], NOW_MS, 120_000)).toEqual({ asleepMs: 600_000, awakeMs: 300_000 });
  expect(longestSleep([old, recent], NOW_MS, 120_000)).toEqual({ asleepMs: 70_000, awakeMs: 1_000 });
});

test('a clock that was set back makes no time negative', () => {
  expect(longestSleep([{ gapMs: 9_000, endedAtMs: NOW_MS + 50 }], NOW_MS, 1_000)?.awakeMs).toBe(0);
});
