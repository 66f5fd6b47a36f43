import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rawForm } from '../../log-reader/prefixes.ts';

test.each([
  ['xcbeautify', '❌ /src/A.xcodeproj: Signing for "A" requires', '/src/A.xcodeproj: error: Signing for "A" requires'],
  ['xcbeautify', '❌ /src/a b.swift:1:2: cannot find', '/src/a b.swift:1:2: error: cannot find'],
  ['xcbeautify without colours', '[x] /src/a.swift:1:2: cannot find', '/src/a.swift:1:2: error: cannot find'],
  ['xcbeautify without colours', '[x] clang: error: linker command failed', 'clang: error: linker command failed'],
  ['xcbeautify without colours', '[!] /src/a.m:1:2: unused', '/src/a.m:1:2: warning: unused'],
  ['xcbeautify on GitHub', '::error file=/src/a.swift,line=1,col=2::cannot', '/src/a.swift:1:2: error: cannot'],
  ['xcbeautify on GitHub', '::error ::ld: library not found', 'error: ld: library not found'],
  ['xcbeautify on GitHub', '::warning ::Skipping', 'warning: Skipping'],
  ['xcbeautify on Azure', '##vso[task.logissue type=error;sourcepath=/a.m;linenumber=3]x', '/a.m:3: error: x'],
  ['GitHub', '##[error]Process completed', 'error: Process completed'],
  ['xcpretty in fastlane', '[14:38:27]: ▸ ** ARCHIVE FAILED **', '** ARCHIVE FAILED **'],
  ['xcbeautify in fastlane', '[17:11:17]: ▸ ::error file=/a.xcodeproj::no', '/a.xcodeproj: error: no'],
  ['xcpretty', '❌  Undefined symbols for architecture arm64', 'error: Undefined symbols for architecture arm64'],
  ['Expo', '❌  Pods/Yoga: Signing for "x" requires', 'Pods/Yoga: error: Signing for "x" requires'],
  ['Expo', '⚠️  (ios/A.mm:10:10)', 'warning: (ios/A.mm:10:10)'],
  ['oclif', ' ›   Error: Either log in', 'Error: Either log in'],
  ['Gradle', 'C/C++: /src/a.cpp:1:2: error: x', '/src/a.cpp:1:2: error: x'],
  ['EAS', '[RUN_FASTLANE] \x1b[31m❌ /a.m:1:2: x\x1b[39m', '/a.m:1:2: error: x'],
  ['a step of a custom build of EAS', '[Run fastlane] ❌ /a.m:1:2: x', '/a.m:1:2: error: x'],
  ['a redrawn line', '10%\r20%\rdone', 'done'],
  ['CocoaPods', '[!] Error installing x', '[!] Error installing x'],
  ['CocoaPods', '[!] /usr/bin/git clone https://example.com/a.git', '[!] /usr/bin/git clone https://example.com/a.git'],
  ['no formatter', 'see https://example.com: ❌ is a mark', 'see https://example.com: ❌ is a mark'],
])('%s: %s', (_, printed, raw) => {
  expect(rawForm(printed).text).toBe(raw);
});

test('no line throws or takes long', () => {
  const piece = fc.constantFrom(
    '❌ ',
    '[x] ',
    '::error ',
    'file=',
    '::',
    ':',
    '/',
    'a',
    ' ',
    '▸ ',
    '[!] ',
    ',',
    '\r',
    'error: ',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      expect(rawForm(pieces.join('')).text.length).toBeLessThan(4_096);
    }),
  );
  for (const part of ['/', 'a/', '::error ', ':', ' ', '❌ ', 'C/C++: ', '▸ ']) rawForm(part.repeat(50_000));
  for (const part of ['/', 'a/', ':', ' ', 'a b/']) rawForm(`❌ ${part.repeat(50_000)}`);
});
