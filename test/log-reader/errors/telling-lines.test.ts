import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TELLING_LINES_MAX } from '#contract';
import { explainFailure } from '../../../log-reader/errors/explain-failure.ts';
import { createTellingLines, tellingLines } from '../../../log-reader/errors/telling-lines.ts';
import { EXCERPTS } from './excerpts.ts';

const sample = (name: string): string[] =>
  readFileSync(new URL(`../../samples/${name}`, import.meta.url), 'utf8').split('\n');

/** The lines that a person who reads the failing log would point at. */
const TELLS: [name: string, line: string][] = [
  ['xcodebuild-compile-error.log', 'AppDelegate.swift:20:13: error: consecutive statements on a line'],
  ['xcodebuild-simulator-timeout.log', 'Timed out waiting 120 seconds for simulator to boot'],
  ['xcodebuild-early-unexpected-exit.log', 'Early unexpected exit, operation never finished bootstrapping'],
  ['xcodebuild-old-format-fail.log', 'RACTupleSpec.m:28: error: -[RACTupleSpec'],
  ['field/02-eas-warning-then-network.log', 'getaddrinfo ENOTFOUND registry.npmjs.org'],
  ['field/02b-eas-warning-then-unknown.log', 'lantern-plugin: the moon is in the wrong house'],
  ['field/04-xcbeautify-signing.log', 'Signing for "Lantern" requires a development team'],
  ['field/05-script-phase-node-of-another-mac.log', 'v20.1.0/bin/node: No such file or directory'],
  ['field/06-pods-not-installed-xcconfig.log', 'Unable to open base configuration reference file'],
  ['field/06c-codegen-did-not-run.log', 'Codegen did not run properly'],
  ['field/09-rn-cli.log', 'Failed to build ios project'],
  ['field/10-pod-checksum.log', 'Verification checksum was incorrect'],
  ['field/12-podfile-invalid-by-codegen.log', 'Unknown prop type for "brightness"'],
  ['field/13-codesign-detritus-script.log', 'resource fork, Finder information, or similar detritus'],
  ['field/14-tool-missing.log', 'yarn: command not found'],
  ['field/14b-spawn-fastlane.log', 'spawn fastlane ENOENT'],
  ['field/15-corepack-signature.log', 'Cannot find matching keyid'],
  ['field/16-build-input-missing.log', 'Build input file cannot be found'],
  ['field/17-build-database-locked.log', 'database is locked'],
  ['field/17b-duplicate-tasks.log', 'Unexpected duplicate tasks'],
  ['field/17c-interrupted.log', '** BUILD INTERRUPTED **'],
  ['field/18-eas-prompt.log', 'Input is required, but stdin is not readable'],
  ['field/18c-eas-not-authorised.log', 'Entity not authorized'],
  ['field/19-metro-emfile.log', 'EMFILE: too many open files'],
  ['field/19b-metro-port.log', 'EADDRINUSE: address already in use :::8081'],
  ['field/20-ruby-activesupport.log', 'uninitialized constant ActiveSupport'],
  ['field/21-gradle-task.log', 'finished with non-zero exit value 1'],
  ['field/22-compile-cascade.log', "Float.h:19:15: error: unknown type name 'CGFloat'"],
  ['field/23-script-phase-unnamed.log', 'Upload\\ Debug\\ Symbols\\ to\\ Sentry'],
  ['field/25-match-passphrase.log', 'Invalid password passed via'],
  ['field/27-pod-prepare-command.log', 'cp: framework/packages/wick/..: File exists'],
];

test('of the failing samples, at least nine in ten have the telling line among the chosen', () => {
  const missed = TELLS.filter(([name, line]) => !tellingLines(sample(name)).some((chosen) => chosen.includes(line)));
  expect(missed.length / TELLS.length, missed.join('\n')).toBeLessThanOrEqual(0.1);
});

test('of the known errors, at least nine in ten have the line that explains them among the chosen', () => {
  const excerpts = Object.values(EXCERPTS).flat();
  const missed = excerpts.filter(({ lines }) => !tellingLines(lines).includes(explainFailure(lines)?.line ?? ''));
  expect(missed.length / excerpts.length).toBeLessThanOrEqual(0.1);
});

test('what follows from the first error is left out', () => {
  expect(tellingLines(sample('field/22-compile-cascade.log'))).toEqual([
    "/src/node_modules/react-native/wick/Float.h:19:15: error: unknown type name 'CGFloat'",
  ]);
  const npm = [
    '> app@1.0.0 build',
    'wick: no flame in ./lantern.json',
    'npm error Lifecycle script `build` failed with error:',
    'npm error code 1',
    'npm error path /src',
    'npm error A complete log of this run can be found in: /tmp/a.log',
  ];
  expect(tellingLines(npm)).toContain('wick: no flame in ./lantern.json');
  expect(tellingLines(npm)).not.toContain('npm error path /src');
});

test.each([
  [
    'yarn, whose package was built by node-gyp',
    [
      '[4/4] Building fresh packages...',
      'error /src/node_modules/wick: Command failed.',
      'Exit code: 1',
      'Command: node-gyp rebuild',
      'Output:',
      'gyp info using node-gyp@10.0.1',
      'gyp ERR! configure error',
      'gyp ERR! stack Error: Could not find any Python installation to use',
      'gyp ERR! stack     at PythonFinder.fail (/x/find-python.js:306:11)',
      'gyp ERR! not ok',
      'info Visit https://yarnpkg.com/en/docs/cli/install for documentation about this command.',
    ],
    'Could not find any Python installation',
  ],
  [
    'the TypeScript compiler',
    ['> tsc --noEmit', 'src/App.tsx(12,5): error TS2322: not assignable', 'npm error code 2', 'npm error path /src'],
    'error TS2322',
  ],
  [
    'Jest',
    ['PASS src/b.test.ts', 'FAIL src/a.test.ts', '  ● the flame is lit', '', '    expect(received).toBe(expected)', ''],
    'the flame is lit',
  ],
  [
    'Python',
    ['Traceback (most recent call last):', '  File "/src/b.py", line 3', "ModuleNotFoundError: No module named 'wick'"],
    'No module named',
  ],
  [
    'Ruby',
    ["/gems/wick.rb:12:in 'light': undefined method 'burn' for nil (NoMethodError)", "\tfrom /gems/wick.rb:3:in 'run'"],
    "undefined method 'burn'",
  ],
  [
    'a program that crashed',
    ['+ ./wick', 'line 1: 4242 Abort trap: 6  ./wick', 'make: *** [all] Error 134'],
    'Abort trap',
  ],
  [
    'the upload to Apple',
    [
      '[12:01:00]: [Transporter Error Output]: The provisioning profile in the bundle is invalid. (90161)',
      '[12:01:01]: fastlane finished with errors',
      '[!] Error uploading ipa file:',
    ],
    '(90161)',
  ],
])('the telling line of %s', (_, lines, tells) => {
  expect(tellingLines(lines).join('\n')).toContain(tells);
});

test('the error is found above all that fastlane says about it', () => {
  const lines = [
    '[17:11:01]: ▸ [Lantern] Compiling Wick.swift',
    '[17:11:17]: ▸ ::error file=/src/ios/Lantern.xcodeproj::The wick of "Lantern" is too short',
    ...Array.from({ length: 40 }, (_, i) => `[17:11:17]: ▸ ::warning ::Skipping duplicate build file: /src/${i}.swift`),
    '[17:11:17]: ▸ ** ARCHIVE FAILED **',
    '[17:11:17]: ▸ The following build commands failed:',
    '[17:11:17]: ▸ \tArchiving project Lantern with scheme Lantern',
    '[17:11:17]: ▸ (1 failure)',
    '[17:11:17]: Exit status: 65',
    '+---------------+---------+',
    '| gym_version   | 2.228.0 |',
    '+---------------+---------+',
    '[17:11:17]: ⬆️  Check out the few lines of raw `xcodebuild` output above',
    '[17:11:17]: Looks like fastlane ran into a build/archive error with your project',
    '[17:11:17]: Called from Fastfile at line 104',
    '[17:11:17]: fastlane finished with errors',
    '[!] Error building the application - see the log above',
  ];
  expect(tellingLines(lines)[0]).toBe('▸ ::error file=/src/ios/Lantern.xcodeproj::The wick of "Lantern" is too short');
});

test('what a later success or a later phase of EAS has outlived is not shown', () => {
  const lines = [
    'Error: the first try failed',
    '** BUILD SUCCEEDED **',
    'wick: out of oil',
    'Error: x exited with non-zero code: 1',
  ];
  expect(tellingLines(lines)).toEqual(['wick: out of oil']);
  const eas = [
    '[RUN_EXPO_DOCTOR] Error: 2 checks failed',
    '[PREBUILD] wick: out of oil',
    '[CLEAN_UP_CREDENTIALS] Done',
  ];
  expect(tellingLines(eas)).toEqual(['wick: out of oil', 'Done']);
});

test('where nothing looks like an error, the last lines are shown', () => {
  const lines = Array.from({ length: 50 }, (_, index) => `step ${index}`);
  expect(tellingLines(lines)).toEqual(lines.slice(-TELLING_LINES_MAX));
});

test('colours, phase and time are left out, and a line is cut', () => {
  const [line] = tellingLines([`[RUN_FASTLANE] \x1b[31m[12:00:00]: error: ${'x'.repeat(5_000)}\x1b[39m`]);
  expect(line).toMatch(/^error: x+$/);
  expect(line!.length).toBe(500);
});

test('nothing is shown of a log that is empty', () => {
  expect(tellingLines([])).toEqual([]);
  expect(tellingLines(['', '   ', '\r'])).toEqual([]);
});

test('whatever is printed, at most ten lines come out, of the log and in its order', () => {
  const line = fc.oneof(
    fc.constantFrom(
      'error: a',
      'Error: b',
      '[!] c',
      '    d',
      '',
      '** BUILD FAILED **',
      'The following build commands failed:',
      '[PREBUILD] e failed',
      '/a.m:1:2: error: f',
      'BUILD SUCCESSFUL in 1s',
      '> Task :g FAILED',
      '* What went wrong:',
    ),
    fc.string({ unit: 'binary', maxLength: 40 }),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 80 }), (lines) => {
      const telling = createTellingLines();
      for (const one of lines) telling.push(one);
      const chosen = telling.lines();
      expect(chosen.length).toBeLessThanOrEqual(TELLING_LINES_MAX);
      expect(new Set(chosen).size).toBe(chosen.length);
      for (const one of chosen) expect(lines.some((printed) => printed.includes(one))).toBe(true);
    }),
  );
});

test('a log of any length is read in bounded memory', () => {
  const telling = createTellingLines();
  const long = `error: ${'x'.repeat(10_000)}`;
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < 200_000; index++) telling.push(index % 3 === 0 ? long : `${index} failed`);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(100 * 1024 * 1024);
  expect(telling.lines().length).toBeLessThanOrEqual(TELLING_LINES_MAX);
});
