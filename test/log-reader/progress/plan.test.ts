import { expect, test } from 'vitest';
import { EAS_PLANS } from '../../../log-reader/phases.ts';
import { createPlan } from '../../../log-reader/progress/plan.ts';

const plan = (command = '', history: string[] | null = null) =>
  createPlan({
    command,
    platform: 'ios',
    history: history && {
      version: 1,
      builds: 1,
      phases: history.map((id) => ({ id, durationMs: 1_000, lines: 1, work: 0 })),
    },
  });

test('an earlier build tells the plan, whatever the command is, and nothing changes it', () => {
  const known = plan('xcodebuild archive', ['install', 'bundle']);
  known.enter('xcode', ['install', 'xcode']);
  known.enter('RUN_GRADLEW', ['install', 'xcode', 'RUN_GRADLEW']);
  expect(known.phases).toEqual(['install', 'bundle']);
  expect(known.told).toBe(true);
});

test('a phase that the command did not name is put in front of those that are still to come', () => {
  const named = plan('npm ci && xcodebuild archive');
  named.enter('pods', ['install', 'pods']);
  expect(named.phases).toEqual(['install', 'pods', 'xcode']);
});

test('without a command, what most often follows is expected', () => {
  const guessed = plan();
  expect(guessed.told).toBe(false);
  guessed.enter('pods', ['command', 'pods']);
  expect(guessed.phases).toEqual(['command', 'pods', 'xcode']);
});

test('a phase that only one platform has corrects the platform', () => {
  const eas = plan();
  eas.enter('PREBUILD', ['command', 'PREBUILD']);
  expect(eas.phases).toEqual(EAS_PLANS.ios);
  eas.enter('FIX_GRADLEW', ['command', 'PREBUILD', 'FIX_GRADLEW']);
  expect(eas.phases).toEqual(EAS_PLANS.android);
});

test('what comes next is said only if it is known', () => {
  expect(plan('npm ci && xcodebuild archive').after('install')).toBe('xcode');
  expect(plan('npm ci && xcodebuild archive').after('xcode')).toBeUndefined();
  expect(plan('npm ci').after('gradle')).toBeUndefined();
  const guessed = plan();
  guessed.enter('pods', ['command', 'pods']);
  expect(guessed.after('pods')).toBeUndefined();
});

test('a build in a phase that the plan does not know stands at the last one that it knows', () => {
  const known = plan('', ['install', 'bundle', 'xcode']);
  expect(known.indexOf('bundle', ['install', 'bundle'])).toBe(1);
  expect(known.indexOf('gradle', ['install', 'bundle', 'gradle'])).toBe(1);
  expect(known.indexOf('gradle', ['gradle'])).toBe(-1);
});
