import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { explainFailure, KNOWN_ERRORS } from '../../../log-reader/errors/explain-failure.ts';
import { EXCERPTS } from './excerpts.ts';

const sample = (name: string): string[] =>
  readFileSync(new URL(`../../samples/${name}`, import.meta.url), 'utf8')
    .split('\n')
    .slice(-400);

const CASES = Object.entries(EXCERPTS).flatMap(([id, excerpts]) =>
  excerpts.map((excerpt) => [id, excerpt.lines[0]!.slice(0, 70), excerpt] as const),
);

test.each(CASES)('%s: %s', (id, _, { lines, says }) => {
  const explanation = explainFailure(lines);
  expect(explanation?.id).toBe(id);
  if (says) expect(explanation?.sentence).toContain(says);
  expect(explanation?.sentence).not.toMatch(/\$\d|undefined| {2}/);
  const shown = explanation?.line ?? '';
  expect(lines.some((line) => line.includes(shown))).toBe(true);
});

test('every known error has an excerpt, and no excerpt is of an unknown one', () => {
  expect(Object.keys(EXCERPTS).toSorted()).toEqual(KNOWN_ERRORS.map(({ id }) => id).toSorted());
});

test.each(KNOWN_ERRORS.map((known) => [known.id, known] as const))('%s: one sentence, one advice', (id, known) => {
  expect(id).toMatch(/^[a-z]+(_[a-z]+)*$/);
  for (const text of [known.sentence, known.advice]) expect(text.length).toBeLessThan(220);
  expect(known.sentence).toMatch(/^[A-Z$].*[.\w]$/);
  expect(known.advice).toMatch(/^[A-Z].*\.$/);
});

test('an excerpt explains the same with phase, time and colours in front', () => {
  for (const [id, excerpts] of Object.entries(EXCERPTS)) {
    for (const { lines } of excerpts) {
      if (lines.some((line) => line.startsWith('['))) continue;
      const dressed = lines.map((line) => `[RUN_FASTLANE] \x1b[31m${line}\x1b[0m`);
      expect(explainFailure(dressed)?.id, lines[0]).toBe(id);
    }
  }
});

test('a cause is named, not what follows from it', () => {
  const lines = [
    'ld: No space left on device',
    'clang: error: linker command failed with exit code 1 (use -v to see invocation)',
    'Undefined symbols for architecture arm64:',
    'Command PhaseScriptExecution failed with a nonzero exit code',
    '** ARCHIVE FAILED **',
  ];
  expect(explainFailure(lines)?.id).toBe('disk_full');
});

test('of two lines that tell the same, the last is shown', () => {
  const lines = ['ld: library not found for -lA', 'ld: library not found for -lB'];
  expect(explainFailure(lines)?.line).toBe('ld: library not found for -lB');
});

test.each([
  ['xcodebuild-clean-build-xcode15.log'],
  ['xcodebuild-test-ok.log'],
  ['expo-export-1.log'],
  ['expo-export-2.log'],
])('a healthy log explains nothing: %s', (name) => {
  expect(explainFailure(sample(name))).toBeNull();
});

test.each([
  ['xcodebuild-compile-error.log', 'compile_error'],
  ['xcodebuild-early-unexpected-exit.log', 'test_runner_exited'],
  ['xcodebuild-simulator-timeout.log', 'simulator_timeout'],
  ['xcodebuild-old-format-fail.log', null],
])('a recorded failure: %s', (name, id) => {
  expect(explainFailure(sample(name))?.id ?? null).toBe(id);
});

test.each([
  ['in a sentence', ['If the build says "No space left on device", free some.']],
  ['by the shell', ['+ echo error: No profiles for x were found', "$ echo 'ld: library not found for -lA'"]],
  ['as a warning', ['warning: ld: library not found for -lA', 'npm warn ERESOLVE overriding peer dependency']],
  [
    'as a warning of Xcode',
    ['⚠️  (ios/A/AppDelegate.mm:10:10)', '    ^ pointer is missing a nullability type specifier'],
  ],
  ['as a name of a test', ["✓ says 'An Expo user account is required to proceed' (3 ms)"]],
  ['in a longer sentence', ['See the chapter "ld: No space left on device" of `docs: library not found for -lA`']],
  ['in code', ["  throw new Error('ENOSPC: no space left on device');"]],
  ['as a file', ['› Compiling Pods/A » KeychainLocked.swift', 'CompileC errSecInternalComponent.o a.c']],
  ['by a comment', ["# fatal error: 'a.h' file not found"]],
])('an error that is only spoken of, %s, explains nothing', (_, lines) => {
  expect(explainFailure(lines)).toBeNull();
});

test('an error that a later success has outlived does not count', () => {
  const lines = [
    "[!] CDN: trunk URL couldn't be downloaded: https://cdn.cocoapods.org/a.txt Response: Timeout was reached",
    'Pod installation complete! There are 108 dependencies from the Podfile and 116 total pods installed.',
    'something else went wrong',
  ];
  expect(explainFailure(lines)).toBeNull();
  expect(explainFailure(['ld: No space left on device', 'Build successful'])).toBeNull();
});

test('an unknown failure is not explained, nor is silence', () => {
  expect(explainFailure([])).toBeNull();
  expect(explainFailure(['make: *** [all] Error 2', ''])).toBeNull();
});

test('only the last lines count, and what is shown is bounded', () => {
  const old = ['ld: No space left on device', ...Array.from({ length: 400 }, (_, i) => `line ${i}`)];
  expect(explainFailure(old)).toBeNull();
  const long = explainFailure([`error: Multiple commands produce '${'x'.repeat(1_500)}'`]);
  expect(long?.line.length).toBeLessThanOrEqual(500);
  expect(long?.sentence.length).toBeLessThanOrEqual(300);
});

test('no line takes long, and none throws', () => {
  const piece = fc.constantFrom(
    'error: ',
    ' ',
    'a',
    ': ',
    '"',
    "'",
    '[!] ',
    'npm error ',
    'Unable to resolve ',
    ' from ',
    'Provisioning profile "',
    'SyntaxError: ',
    '.swift',
    ':1:1: ',
    'x'.repeat(300),
    '(',
    '404 ',
    "error Couldn't find package ",
    '/',
  );
  fc.assert(
    fc.property(fc.array(fc.array(piece, { maxLength: 60 }), { maxLength: 5 }), (lines) => {
      explainFailure(lines.map((pieces) => pieces.join('')));
    }),
  );
  // A pattern that backtracks without end would not come back from this.
  const hostile = ['"', ' ', 'a', ':', '/', 'error: ', "'", '(', '.swift:1', 'Killed: 9 '].map((part) =>
    part.repeat(20_000),
  );
  expect(explainFailure(hostile.concat(Array.from({ length: 390 }, () => hostile[1]!)))).toBeDefined();
});
