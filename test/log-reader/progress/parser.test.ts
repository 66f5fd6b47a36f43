import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ProgressHistory } from '#contract';
import { EAS_PLANS, factsOf } from '../../../log-reader/phases.ts';
import { createProgressParser, type ProgressParserOptions } from '../../../log-reader/progress/parser.ts';
import { gradle } from '../../../log-reader/recognisers/gradle.ts';
import { gradleLog, randomGradleShapes } from '../factories/gradle-log.ts';
import { easLog, encode, learn, meanError, recorded, sample, totalMs, watch } from '../factories/logs.ts';

const EXPO = { command: 'npm ci && npx expo export --platform ios' };
const GRADLE = { command: 'cd android && ./gradlew assembleRelease', platform: 'android' } as const;
const WITHOUT_NATIVE = { nativeLibraries: [], appCost: 0 };
const SAMPLES = [
  'xcodebuild-clean-build-xcode15.log',
  'xcodebuild-test-ok.log',
  'xcodebuild-compile-error.log',
  'xcodebuild-simulator-timeout.log',
  'xcodebuild-early-unexpected-exit.log',
  'xcodebuild-old-format-fail.log',
];

function run(lines: string[], options: ProgressParserOptions = {}, stepMs = 1_000) {
  const parser = createProgressParser(options);
  let nowMs = 0;
  for (const line of lines) parser.push(encode(`${line}\n`), (nowMs += stepMs));
  return { ...parser.snapshot(nowMs), parser, nowMs };
}

test('before any output, time alone tells, and it says so', () => {
  const parser = createProgressParser();
  expect(parser.snapshot(0)).toEqual({ percent: 0, phase: 'Running the build command', origin: 'time', etaMs: null });
  const later = parser.snapshot(300_000);
  expect(later.percent).toBeGreaterThan(10);
  expect(later.origin).toBe('time');
});

test('output that nobody understands leaves it at time, short of the end for ever', () => {
  const { parser } = run(Array.from({ length: 50 }, (_, i) => `frobnicating ${i}`));
  expect(parser.snapshot(86_400_000)).toMatchObject({ origin: 'time', phase: 'Running the build command' });
  expect(parser.snapshot(86_400_000).percent).toBeLessThan(99);
});

test('a command that nobody understands is followed by its lines once it has been seen', () => {
  const lines = Array.from({ length: 100 }, (_, i) => ({ atMs: i * 1_000, text: `frobnicating ${i}` }));
  const slower = lines.map(({ atMs, text }) => ({ atMs: atMs * 1.5, text }));
  const history = learn(lines);
  expect(watch(slower, { history })[100]).toMatchObject({ origin: 'parsed' });
  expect(meanError(slower, { history })).toBeLessThan(5);
});

test.each(Object.values(EAS_PLANS).flatMap((plan) => [...plan]))('the phase %s has a name for people', (id) => {
  expect(factsOf(id).label).toMatch(/^[A-Z][a-zA-Z.\- ]+$/);
  expect(factsOf(id).label).not.toContain('_');
});

test('EAS: the phase of each line is followed, a tool inside it gives a better name', () => {
  const seen = [
    '[INSTALL_DEPENDENCIES] Installing dependencies',
    '[INSTALL_PODS] Installing Yoga (0.0.0)',
    '[RUN_FASTLANE] Creating Gymfile',
    '[RUN_FASTLANE] › Executing MyApp » Bundle React Native code and images',
    '[RUN_FASTLANE] iOS index.js ▓▓░░ 50.0% (100/200)',
    '[RUN_FASTLANE] › Linking MyApp » MyApp',
  ];
  const names = seen.map((_, index) => run(seen.slice(0, index + 1)).phase);
  expect(names).toEqual([
    'Installing dependencies',
    'Installing pods',
    'Preparing the native build',
    'Bundling JavaScript',
    'Bundling JavaScript',
    'Compiling native code',
  ]);
});

test('a build of a profile: before the first phase of EAS it says which tool is installed', () => {
  const command = 'eas build --local --non-interactive --platform ios --profile production';
  const seen = [
    '[tartbeat] Installing node 22.13.0; the image has 24.1.0.',
    '[tartbeat] Dependencies are installed in the root of the source: npm ci --include=dev',
    'added 467 packages in 17s',
    '[tartbeat] The build waits for its number from the controller.',
    '[SETUP_WORKINGDIR] Preparing workingdir /Users/admin/.tartbeat/expo/work',
    '[Install Pods] Installing Yoga (0.0.0)',
  ];
  const names = seen.map((_, index) => run(seen.slice(0, index + 1), { command }).phase);
  expect(names).toEqual([
    'Installing node 22.13.0',
    'Installing dependencies',
    'Preparing the working folder',
    'Waiting for the build number',
    'Preparing the working folder',
    'Installing pods',
  ]);
  const { percent } = run(seen, { command });
  expect(percent).toBeLessThan(15);
});

test('EAS: what a phase prints without its name in front stays in it', () => {
  const lines = [
    '[READ_APP_CONFIG] Using app configuration:',
    '[READ_APP_CONFIG] {',
    '  "name": "A",',
    'added 1 package in 1s',
  ];
  expect(run(lines).phase).toBe('Reading the app config');
});

test('EAS: a phase that is newer than this program is named after itself', () => {
  expect(run(['[PREBUILD] x', '[WARM_UP_CACHES] y']).phase).toBe('Warm up caches');
});

test('a word in brackets is no phase of EAS as long as none has been seen', () => {
  expect(run(['[HELLO_WORLD] y'])).toMatchObject({ phase: 'Running the build command', origin: 'time' });
});

test('without EAS, each tool is a phase', () => {
  const lines = [
    'added 467 packages in 3s',
    '✔ Created native directory',
    'Analyzing dependencies',
    'Pod installation complete! There are 2 dependencies from the Podfile and 2 total pods installed.',
    'Command line invocation:',
    '** ARCHIVE SUCCEEDED **',
    '    /usr/bin/xcodebuild -exportArchive -archivePath a',
  ];
  const names = lines.map((_, index) => run(lines.slice(0, index + 1)).phase);
  expect([...new Set(names)]).toEqual([
    'Installing dependencies',
    'Generating the native project',
    'Installing pods',
    'Preparing the native build',
    'Exporting the app',
  ]);
});

test('the bundler that Xcode starts does not end the compilation', () => {
  const lines = [
    'Command line invocation:',
    "CompileC a.o a.c (in target 'A' from project 'P')",
    'Starting Metro Bundler',
    'iOS Bundled 900ms index.js (20 modules)',
  ];
  const { parser, nowMs, phase } = run(lines);
  expect(phase).toBe('Bundling JavaScript');
  expect(parser.record(nowMs).phases.map(({ id }) => id)).toEqual(['command', 'xcode']);
});

test('a tool that is silent until its end is given the time that it says it took', () => {
  const parser = createProgressParser();
  parser.push(encode('hello\n'), 2_000);
  parser.push(encode('added 467 packages in 17s\n'), 20_000);
  expect(parser.record(20_000).phases).toMatchObject([
    { id: 'command', durationMs: 3_000 },
    { id: 'install', durationMs: 17_000 },
  ]);
});

/** The phase after each line. */
function phasesOf(lines: string[], options: ProgressParserOptions = {}): string[] {
  const parser = createProgressParser(options);
  return lines.map((line, index) => {
    parser.push(encode(`${line}\n`), index * 1_000);
    return parser.snapshot(index * 1_000).phase;
  });
}

test('CocoaPods is not taken for Xcode: one phase from its first line to its last', () => {
  const lines = sample('field/08-pod-install-codegen-lines.log').toString().trimEnd().split('\n');
  const parser = createProgressParser();
  for (const [index, line] of lines.entries()) parser.push(encode(`${line}\n`), (index + 1) * 1_000);
  const { phases } = parser.record(20_000);
  expect(phases.filter(({ durationMs }) => durationMs > 0).map(({ id }) => id)).toEqual(['command', 'pods']);
  expect(new Set(phasesOf(lines))).toEqual(new Set(['Installing pods']));
  expect(phasesOf(['Command line invocation:', '[Codegen] Processing wickspec'])).toEqual([
    'Preparing the native build',
    'Generating native code',
  ]);
});

test('nor is it if fastlane runs it', () => {
  const lines = ['▸ Analyzing dependencies', '▸ Installing Yoga (0.0.0)', '▸ Generating Pods project'];
  expect(new Set(phasesOf(lines.map((line) => `[12:00:00]: ${line}`)))).toEqual(new Set(['Installing pods']));
});

test('the command line of React Native compiles native code, from its first line on', () => {
  const lines = sample('field/09-rn-cli.log').toString().trimEnd().split('\n');
  const names = phasesOf(lines, { command: 'npm ci && npx react-native build-ios --mode Release' });
  expect(names).toEqual([
    'Compiling native code',
    'Preparing the native build',
    'Compiling native code',
    'Compiling native code',
    'Compiling native code',
    'Compiling native code',
  ]);
});

test.each([
  ['as usual', {}],
  ['on a slow machine', { processors: 2 }],
  ['on a fast machine', { processors: 10 }],
  ['of much C++', { appCost: 960, nativeCost: 240 }],
  ['for one architecture', { architectures: ['arm64-v8a'] }],
  ['with C++ in the app alone', { nativeLibraries: [] }],
  ['with C++ in libraries that nobody knows', { nativeLibraries: ['lantern-a', 'lantern-b'] }],
  ['with many libraries', { libraries: 60 }],
  ['with few libraries', { libraries: 4, nativeLibraries: ['expo-modules-core'] }],
  ['of C++ from a cache', { appCost: 60, nativeCost: 15 }],
  ['with C++ in libraries alone', { appCost: 0 }],
  ['with C++ in one library', { appCost: 0, nativeLibraries: ['expo-modules-core'] }],
  ['for development and one architecture', { debug: true, architectures: ['arm64-v8a'] }],
  ['shrunk with R8', { minified: true }],
  ['without C++', WITHOUT_NATIVE],
  ['without C++, on a slow machine', { ...WITHOUT_NATIVE, processors: 2 }],
  ['without C++, on a fast machine', { ...WITHOUT_NATIVE, processors: 8 }],
  ['without C++, with few libraries', { ...WITHOUT_NATIVE, libraries: 6 }],
  ['without C++, with many libraries', { ...WITHOUT_NATIVE, libraries: 60 }],
  ['without C++, with much code of the app', { ...WITHOUT_NATIVE, appSize: 5 }],
  ['without C++, shrunk with R8', { ...WITHOUT_NATIVE, minified: true }],
  ['without C++, for development', { ...WITHOUT_NATIVE, debug: true }],
  ['without C++, after downloads', { ...WITHOUT_NATIVE, slowStart: 4 }],
  ['without C++, with tasks that print something', { ...WITHOUT_NATIVE, printedAtStart: true }],
  ['with tasks that print something', { printedAtStart: true }],
  ['in fastlane', { prefix: '[12:00:00]: ▸ ' }],
  ['in EAS', { prefix: '[RUN_GRADLEW] ' }],
] as const)('Gradle without an earlier build, %s: within 15 points on average', (_, shape) => {
  for (const seed of [1, 2, 3]) {
    const log = gradleLog({ seed, ...shape });
    expect(meanError(log)).toBeLessThan(15);
    expect(meanError(log, GRADLE)).toBeLessThan(15);
  }
});

// Most of the others are for one or two architectures or have a long start, which their output does not tell.
test('of 150 Gradle builds whose shapes are drawn at random, five of six are within 15 points on average', () => {
  const errors = randomGradleShapes(150).map((shape) => meanError(gradleLog(shape), GRADLE));
  expect(errors.filter((error) => error <= 15).length).toBeGreaterThanOrEqual(125);
  expect(Math.max(...errors)).toBeLessThan(30);
});

test.each([
  ['gradle-native.log', {}],
  ['gradle-without-native.log', WITHOUT_NATIVE],
])('the sample %s is one of them (`npx vitest run test/log-reader/progress -u` writes it)', async (name, shape) => {
  const text = gradleLog(shape)
    .map((line) => `[${(line.atMs / 1_000).toFixed(3)}] ${line.text}\n`)
    .join('');
  await expect(text).toMatchFileSnapshot(`../../samples/${name}`);
});

test('Gradle with one earlier build: within 5 points on average', () => {
  const history = learn(gradleLog({ seed: 1 }));
  for (const seed of [2, 3]) expect(meanError(gradleLog({ seed }), { history })).toBeLessThan(5);
});

test('a task of Gradle that is named again each time that it prints something counts once', () => {
  const task = '> Task :app:compileReleaseKotlin';
  const recogniser = gradle.create();
  expect(recogniser('> Task :app:preBuild UP-TO-DATE')?.share).toBeGreaterThan(0);
  const first = recogniser(task)?.share;
  expect(recogniser(task)).toMatchObject({ work: 0, share: first });
});

test('the number of pods tells how long the compilation will take', () => {
  const after = (pods: number) =>
    run([
      '[INSTALL_PODS] Using Expo modules',
      `[INSTALL_PODS] Pod installation complete! There are 9 dependencies from the Podfile and ${pods} total pods installed.`,
      ...Array.from({ length: 100 }, (_, i) => `[RUN_FASTLANE] › Compiling A » ${i}.cpp`),
    ]).percent;
  expect(after(20)).toBeGreaterThan(after(116) * 1.5);
});

test('EAS for Android is told from iOS by its phases, and Gradle counts', () => {
  const tasks = (count: number) => Array.from({ length: count }, (_, i) => `[RUN_GRADLEW] > Task :app:task${i}`);
  const few = run(['[PREBUILD] x', '[FIX_GRADLEW] x', ...tasks(50)]);
  const many = run(['[PREBUILD] x', '[FIX_GRADLEW] x', ...tasks(700)]);
  expect(many.phase).toBe('Compiling native code');
  expect(many.percent).toBeGreaterThan(few.percent + 40);
});

test('a bar that Gradle redraws is read at each redraw', () => {
  const parser = createProgressParser({ command: './gradlew bundleRelease' });
  parser.push(encode('<=============> 5% EXECUTING [1s]\r<=============> 90% EXECUTING [9m]\r'), 540_000);
  expect(parser.snapshot(540_000).percent).toBeGreaterThan(70);
});

test('99 is the most, also after the end', () => {
  const { parser } = run(['[RUN_FASTLANE] Creating Gymfile', '[RUN_FASTLANE] x', 'Build successful']);
  expect(parser.snapshot(10_000_000).percent).toBe(99);
});

test.each(SAMPLES)('%s: understood, and never falls', (name) => {
  const parser = createProgressParser();
  let last = 0;
  let fed = 0;
  for (const line of sample(name).toString().split('\n')) {
    parser.push(encode(`${line}\n`), (fed += 10));
    const { percent } = parser.snapshot(fed);
    expect(percent).toBeGreaterThanOrEqual(last);
    expect(percent).toBeLessThanOrEqual(99);
    last = percent;
  }
});

test('a raw log of Xcode reaches the end with its targets, without an earlier build', () => {
  const parser = createProgressParser();
  const lines = sample('xcodebuild-clean-build-xcode15.log').toString().split('\n');
  const percents = lines.map((line, index) => {
    parser.push(encode(`${line}\n`), index * 100);
    return parser.snapshot(index * 100).percent;
  });
  const middle = percents[Math.floor(lines.length / 2)]!;
  expect(middle).toBeGreaterThan(15);
  expect(middle).toBeLessThan(85);
  expect(percents.at(-1)).toBeGreaterThan(90);
});

test.each([
  ['as fast as the measured one', 1],
  ['twice as fast', 0.5],
  ['half as fast again', 1.6],
])('EAS without an earlier build, %s: within 10 points on average', (_, speed) => {
  expect(meanError(easLog({ seed: 3, speed }))).toBeLessThan(10);
});

test.each([
  ['on the same machine', 1],
  ['on one that was faster', 0.7],
  ['on one that was slower', 1.3],
])('EAS with one earlier build %s: within 5 points on average', (_, speed) => {
  expect(meanError(easLog({ seed: 4 }), { history: learn(easLog({ seed: 5, speed })) })).toBeLessThan(5);
});

test('npm ci and expo export, recorded twice: the time left is known from the earlier one', () => {
  const history = learn(recorded('expo-export-1.log'), EXPO);
  const log = recorded('expo-export-2.log');
  expect(history.phases.map(({ id }) => id)).toEqual(['install', 'bundle']);
  expect(meanError(log, { ...EXPO, history })).toBeLessThan(10);
  const [start] = watch(log, { ...EXPO, history });
  expect(start?.etaMs).toBeGreaterThan(0.5 * totalMs(log));
});

test('the command tells what to expect', () => {
  const log = recorded('expo-export-1.log');
  expect(meanError(log, EXPO)).toBeLessThan(meanError(log) + 0.01);
  expect(watch(log, EXPO)[5]?.phase).toBe('Installing dependencies');
});

test('a record is what the schema says, and small', () => {
  const record = learn(easLog());
  expect(ProgressHistory.parse(record)).toEqual(record);
  expect(JSON.stringify(record).length).toBeLessThan(4_096);
  const fastlane = record.phases.find(({ id }) => id === 'RUN_FASTLANE');
  expect(fastlane?.work).toBe(898);
  expect(fastlane?.durationMs).toBeGreaterThan(1_100_000);
});

test('a history that fits nothing does no harm', () => {
  const history = learn(recorded('expo-export-1.log'), EXPO);
  for (const { percent } of watch(easLog(), { history })) expect(percent).toBeLessThanOrEqual(99);
});

test('a clock that runs backwards, stands, or is none does no harm', () => {
  const parser = createProgressParser();
  for (const elapsedMs of [5_000, 1_000, Number.NaN, Number.POSITIVE_INFINITY, -1]) {
    parser.push(encode('Analyzing dependencies\n'), elapsedMs);
    expect(parser.snapshot(elapsedMs).percent).toBeGreaterThanOrEqual(0);
  }
  expect(parser.record(0).phases.every(({ durationMs }) => durationMs <= 5_000)).toBe(true);
});

/** Lines of every kind beside each other, whole and broken. */
const anyLine = fc.oneof(
  fc.constantFrom(
    '[RUN_FASTLANE] › Compiling A » a.cpp',
    '[INSTALL_PODS] Installing Yoga (0.0.0)',
    '[PREBUILD] x',
    'Build successful',
    '** ARCHIVE SUCCEEDED **',
    'note: Target dependency graph (999999999 targets)',
    "Touch /x (in target 'A' from project 'P')",
    'added 99999999 packages in 999999999h',
    'Progress: resolved 0, reused 9, downloaded 9, added 9, done',
    'iOS x ▓▓ 999.9% (9/0)',
    '> Task :a',
    '\r 12%\r',
    '[1/0] Compiling x',
    'Pod installation complete! There are 1 dependencies from the Podfile and 0 total pods installed.',
  ),
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.stringMatching(/^\[[A-Z]{3,9}_[A-Z]{3,9}\] x$/),
);

test('whatever is printed, it never falls, never passes 99 and never throws', () => {
  const steps = fc.array(fc.tuple(anyLine, fc.nat({ max: 600_000 })), { maxLength: 60 });
  fc.assert(
    fc.property(steps, fc.boolean(), (lines, withHistory) => {
      const parser = createProgressParser(withHistory ? { history: learn(easLog()) } : {});
      let nowMs = 0;
      let last = 0;
      for (const [line, stepMs] of lines) {
        nowMs += stepMs;
        parser.push(encode(`${line}\n`), nowMs);
        const { percent, phase, etaMs } = parser.snapshot(nowMs);
        expect(percent).toBeGreaterThanOrEqual(last);
        expect(percent).toBeLessThanOrEqual(99);
        expect(Number.isInteger(percent)).toBe(true);
        expect(phase.length).toBeGreaterThan(0);
        expect(phase.length).toBeLessThanOrEqual(120);
        if (etaMs !== null) expect(etaMs).toBeGreaterThanOrEqual(0);
        last = percent;
      }
      const record = parser.record(nowMs);
      expect(ProgressHistory.safeParse(record).success).toBe(true);
      createProgressParser({ history: record }).snapshot(nowMs);
    }),
    { numRuns: 60 },
  );
});

test('random bytes do no harm', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
      const parser = createProgressParser();
      chunks.forEach((chunk, index) => {
        parser.push(chunk, index * 1_000);
      });
      expect(parser.snapshot(60_000).percent).toBeLessThanOrEqual(99);
    }),
  );
});

test('however the bytes are cut, the result is the same', () => {
  const log = encode(
    easLog()
      .map(({ text }) => text)
      .join('\n'),
  );
  const result = (cuts: number[]) => {
    const parser = createProgressParser();
    let from = 0;
    for (const end of [...cuts, log.length].sort((a, b) => a - b)) {
      parser.push(log.subarray(from, end), 60_000);
      from = end;
    }
    return { ...parser.snapshot(60_000), record: parser.record(60_000) };
  };
  const whole = result([]);
  fc.assert(
    fc.property(fc.array(fc.nat({ max: log.length }), { maxLength: 40 }), (cuts) => {
      expect(result(cuts)).toEqual(whole);
    }),
    { numRuns: 30 },
  );
});

test('a build that invents phases without end is followed in bounded memory', () => {
  const parser = createProgressParser();
  parser.push(encode('[PREBUILD] x\n'), 0);
  for (let i = 0; i < 5_000; i++) parser.push(encode(`[PHASE_${i}X] x\n`), i);
  expect(parser.record(5_000).phases.length).toBeLessThanOrEqual(96);
  expect(ProgressHistory.safeParse(parser.record(5_000)).success).toBe(true);
});
