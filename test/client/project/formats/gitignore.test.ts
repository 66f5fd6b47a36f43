import { expect, test } from 'vitest';
import { ignoreRules, isIgnored } from '../../../../client/project/formats/gitignore.ts';

test.each([
  ['ios', 'ios/a', true],
  ['ios', 'apps/ios/a', true],
  ['/ios', 'apps/ios/a', false],
  ['ios/', 'ios', false],
  ['ios/', 'ios/a', true],
  ['apps/*/ios', 'apps/mobile/ios/a', true],
  ['apps/*/ios', 'apps/a/b/ios/a', false],
  ['apps/**/ios', 'apps/a/b/ios/a', true],
  ['apps/**/ios', 'apps/ios/a', true],
  ['**/ios', 'ios/a', true],
  ['ios/**', 'ios/a/b', true],
  ['ios/**', 'ios', false],
  ['*.pbxproj', 'ios/App.xcodeproj/project.pbxproj', true],
  ['IOS', 'ios/a', true],
  ['io?', 'ios/a', true],
  ['i[a-z]s', 'ios/a', true],
  ['i[!o]s', 'ios/a', false],
  ['# ios', 'ios/a', false],
  ['\\#ios', '#ios/a', true],
  ['ios   ', 'ios/a', true],
  ['*\n!ios', 'ios/a', true],
  ['/*\n!ios', 'ios/a', false],
  ['ios\n!ios', 'ios/a', false],
  ['*\n!ios\nios/a', 'ios/a', true],
  ['[', '[/a', true],
  ['***a', 'xxa', true],
  ['', 'ios', false],
  ['/', 'ios', false],
])('%j and %s: %j', (rules, path, ignored) => {
  expect(isIgnored(ignoreRules(rules), path)).toBe(ignored);
});

test('patterns that keep a regular expression busy for hours are answered', () => {
  const stars = `${'*a'.repeat(400)}*b\n${'**/a/'.repeat(400)}b\n`.repeat(20);
  expect(isIgnored(ignoreRules(stars), `${'a'.repeat(200)}/${'a/'.repeat(300)}c`)).toBe(false);
});
