import { expect, test } from 'vitest';
import { ProgressHistory } from '#contract';
import { mergeHistory } from '../../../controller/builds/phase-history-mix.ts';
import { easLog, learn, meanError } from '../factories/logs.ts';

const phase = (id: string, durationMs: number, work = 0) => ({ id, durationMs, lines: 1, work });
const history = (...phases: ReturnType<typeof phase>[]): ProgressHistory => ({ version: 1, builds: 1, phases });

test('the first build is the history', () => {
  const newest = history(phase('install', 10));
  expect(mergeHistory(null, newest)).toBe(newest);
});

test('the newest build counts half, its phases are the ones kept', () => {
  const merged = mergeHistory(
    history(phase('install', 100, 8), phase('gone', 1)),
    history(phase('install', 50, 4), phase('new', 7)),
  );
  expect(merged).toEqual({
    version: 1,
    builds: 2,
    phases: [phase('install', 75, 6), phase('new', 7)],
  });
});

test('a mixed history is still one, and estimates as well', () => {
  const merged = mergeHistory(learn(easLog({ seed: 1, speed: 0.8 })), learn(easLog({ seed: 2, speed: 1.2 })));
  expect(ProgressHistory.parse(merged)).toEqual(merged);
  expect(meanError(easLog({ seed: 3 }), { history: merged })).toBeLessThan(5);
});

test.each([
  ['another version', { version: 2, builds: 1, phases: [] }],
  ['a negative duration', history(phase('x', -1))],
  ['an id that is no name', history(phase('a b', 1))],
  ['a curve of another length', { version: 1, builds: 1, phases: [{ ...phase('x', 1), curve: [1, 2] }] }],
  ['too many phases', history(...Array.from({ length: 97 }, (_, i) => phase(`p${i}`, 1)))],
])('refused: %s', (_, value) => {
  expect(ProgressHistory.safeParse(value).success).toBe(false);
});
