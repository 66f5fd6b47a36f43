import { expect, test } from 'vitest';
import { EVEN_CURVE, planOf } from '../../../log-reader/phases.ts';
import { type Expectation, leftInPhase, type Seen, speedOf, timeShare } from '../../../log-reader/progress/estimate.ts';

const expected = (over: Partial<Expectation> = {}): Expectation => ({
  durationMs: 100_000,
  work: 0,
  curve: EVEN_CURVE,
  learned: true,
  ...over,
});
const seen = (over: Partial<Seen> = {}): Seen => ({
  elapsedMs: 0,
  work: 0,
  share: null,
  ahead: 0,
  sinceWorkMs: 0,
  ended: false,
  ...over,
});

test('by the clock: counts down, and never to less than nothing', () => {
  expect(leftInPhase(expected(), seen(), 1)).toBeCloseTo(100_000, -3);
  expect(leftInPhase(expected(), seen({ elapsedMs: 60_000 }), 1)).toBeCloseTo(40_000, -3);
  for (const elapsedMs of [100_000, 200_000, 1e9]) {
    expect(leftInPhase(expected(), seen({ elapsedMs }), 1)).toBeGreaterThan(0);
  }
});

test('by work: half of it in a quarter of the time means a faster machine', () => {
  const left = leftInPhase(expected({ work: 100 }), seen({ elapsedMs: 25_000, work: 50 }), 1);
  expect(left).toBeLessThan(50_000);
  expect(left).toBeGreaterThan(20_000);
});

test('silence counts as progress for a while, then no more', () => {
  const at = (sinceWorkMs: number) =>
    leftInPhase(expected({ work: 100 }), seen({ elapsedMs: 50_000 + sinceWorkMs, work: 50, sinceWorkMs }), 1);
  expect(at(4_000)).toBeLessThan(at(0));
  expect(at(40_000)).toBeGreaterThan(at(4_000));
});

test('a phase that has ended takes no more time', () => {
  expect(leftInPhase(expected(), seen({ ended: true }), 1)).toBe(0);
});

test('the curve is read between its points', () => {
  expect(timeShare([0, 100, 1_000], 0.25)).toBeCloseTo(0.05);
  expect(timeShare([0, 100, 1_000], 0.75)).toBeCloseTo(0.55);
  expect(timeShare([0, 100, 1_000], 7)).toBe(1);
  expect(timeShare([0, 100, 1_000], -7)).toBe(0);
});

test('little evidence changes the speed little, and nothing changes it beyond reason', () => {
  expect(speedOf(2_000, 1_000, 100_000)).toBeCloseTo(1, 1);
  expect(speedOf(200_000, 100_000, 0)).toBe(2);
  expect(speedOf(1e12, 1, 0)).toBe(3);
  expect(speedOf(0, 0, 0)).toBe(0.3);
});

test.each([
  ['npm ci && npx expo export --platform ios', ['install', 'bundle']],
  ['yarn && cd ios && pod install && xcodebuild archive -scheme A', ['install', 'pods', 'xcode']],
  ['pnpm install --frozen-lockfile; npx expo prebuild -p ios; fastlane beta', ['install', 'prebuild', 'pods', 'xcode']],
  ['npx expo prebuild --platform android && cd android && ./gradlew bundleRelease', ['prebuild', 'gradle']],
  ['npm ci && npx pod-install && npx react-native build-ios --mode Release', ['install', 'pods', 'xcode']],
  ['yarn && npx react-native run-android', ['install', 'gradle']],
  ['bundle exec pod install && bundle exec fastlane beta', ['pods', 'xcode']],
  ['make', []],
])('the plan of a command: %s', (command, plan) => {
  expect(planOf(command, 'ios')).toEqual(plan);
});

test('the plan of an EAS build is that of its platform', () => {
  expect(planOf('eas build --local --platform ios', 'ios')).toContain('RUN_FASTLANE');
  expect(planOf('npx eas-cli build --local --platform android', 'android')).toContain('RUN_GRADLEW');
  expect(planOf('npx eas-cli@latest build --local -p ios', 'ios')).toContain('RUN_FASTLANE');
  expect(planOf('npx --yes eas-cli@16.1.0 build --local -p ios', 'ios')).toContain('RUN_FASTLANE');
});
