import { expect, test } from 'vitest';
import { ProgressHistory } from '#contract';
import { mergeHistory } from '../../../controller/phase-history/merge.ts';
import { EVEN_CURVE, planOf } from '../../../log-reader/phases.ts';
import { READER, usableHistory } from '../../../log-reader/progress/history.ts';
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

const usable = (phases: string[], command = '', reader?: number) =>
  usableHistory(
    { ...history(...phases.map((id) => phase(id, 60_000, 9))), ...(reader !== undefined && { reader }) },
    planOf(command, 'ios'),
  );

test.each([
  ["CocoaPods' lines were taken for Xcode's", ['install', 'xcode', 'pods'], ''],
  ['the order is another than that of the command', ['bundle', 'install'], 'npm ci && npx expo export'],
  ['the compilation was not seen', ['install'], 'npm ci && npx react-native build-ios'],
])('a record of an earlier version is dropped where its phases are wrong: %s', (_, phases, command) => {
  expect(usable(phases, command)).toBeNull();
  expect(usable(phases, command, READER)).not.toBeNull();
});

test('another record of an earlier version is used, but for what the tasks of Gradle counted', () => {
  expect(usable(['install', 'pods', 'xcode'], 'npm ci && npx pod-install && xcodebuild archive')).toMatchObject({
    phases: [{ id: 'install' }, { id: 'pods', work: 9 }, { id: 'xcode', work: 9 }],
  });
  const gradle = { ...phase('RUN_GRADLEW', 900_000, 800), curve: EVEN_CURVE.slice() };
  const [kept] = usableHistory(history(gradle), [])?.phases ?? [];
  expect(kept).toMatchObject({ durationMs: 900_000, work: 0 });
  expect(kept).not.toHaveProperty('curve');
});

test('records of two versions are not mixed: the later one counts', () => {
  const old = history(phase('xcode', 100));
  const late = { ...history(phase('pods', 10)), reader: READER };
  expect(mergeHistory(old, late)).toBe(late);
  expect(mergeHistory(late, old)).toBe(late);
  expect(mergeHistory(late, late)).toMatchObject({ builds: 2, reader: READER });
});

test('a record says which version has learned it', () => {
  expect(learn(easLog()).reader).toBe(READER);
});
