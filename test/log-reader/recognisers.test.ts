import { expect, test } from 'vitest';
import { peel } from '../../log-reader/prefixes.ts';
import { createRecognisers, RECOGNISERS } from '../../log-reader/recognisers/index.ts';
import { durationMs, type Sighting } from '../../log-reader/recognisers/recogniser.ts';

/** Lines as the tools print them. */
const LINES: [tool: string, line: string, Sighting | null][] = [
  ['npm', 'npm warn deprecated glob@7.2.3: Glob versions prior to v9 are no longer supported', { phase: 'install' }],
  ['npm', 'added 467 packages in 17s', { phase: 'install', ended: true, tookMs: 17_000, size: 467 }],
  [
    'npm',
    'added 1204 packages, and audited 1205 packages in 1m 4s',
    { phase: 'install', ended: true, tookMs: 64_000, size: 1204 },
  ],
  ['npm', 'up to date in 903ms', { phase: 'install', ended: true, tookMs: 903 }],
  ['yarn', 'yarn install v1.22.19', { phase: 'install' }],
  ['yarn', '[3/4] Linking dependencies...', { phase: 'install', share: 0.5 }],
  ['yarn', '[4/4] 🔨  Building fresh packages...', { phase: 'install', share: 0.75 }],
  ['yarn', '➤ YN0000: ┌ Link step', { phase: 'install', share: 0.6 }],
  ['yarn', '➤ YN0000: · Done with warnings in 1m 2s', { phase: 'install', ended: true, tookMs: 62_000 }],
  ['yarn', '➤ YN0013: │ 312 packages were added to the project', { phase: 'install' }],
  [
    'pnpm',
    'Progress: resolved 1000, reused 200, downloaded 300, added 100',
    { phase: 'install', done: 600, share: 0.3 },
  ],
  [
    'pnpm',
    'Progress: resolved 1431, reused 0, downloaded 1431, added 1431, done',
    { phase: 'install', done: 2862, share: 0.95, size: 1431 },
  ],
  ['pnpm', 'Done in 34.6s using pnpm v9.15.9', { phase: 'install', ended: true, tookMs: 34_600 }],
  ['bun', 'bun install v1.2.4 (fd9a5ea6)', { phase: 'install' }],
  ['bun', '1021 packages installed [12.40s]', { phase: 'install', ended: true, tookMs: 12_400, size: 1021 }],
  ['expo', '- Creating native directory (./ios)', { phase: 'prebuild', share: 0.2 }],
  ['expo', '✔ Finished prebuild', { phase: 'prebuild', ended: true }],
  ['expo', '› ios bundles (1):', { phase: 'bundle', share: 0.98 }],
  ['expo', 'Exported: dist', { phase: 'bundle', ended: true }],
  ['metro', 'Starting Metro Bundler', { phase: 'bundle' }],
  ['metro', 'iOS ./index.ts ▓▓▓▓░░░░░░░░░░░░ 26.0% (227/454)', { phase: 'bundle', share: 0.26, done: 227 }],
  ['metro', 'iOS node_modules/expo-router/entry.js ▓▓░░ 16.0% (  9/25)', { phase: 'bundle', share: 0.16, done: 9 }],
  [
    'metro',
    'iOS Bundled 69808ms node_modules/expo-router/entry.js (3826 modules)',
    { phase: 'bundle', share: 0.96, done: 3826, tookMs: 69_808 },
  ],
  ['metro', 'Done writing bundle output', { phase: 'bundle', share: 0.98 }],
  ['cocoapods', 'Analyzing dependencies', { phase: 'pods' }],
  ['cocoapods', 'Installing RNScreens (4.16.0)', { phase: 'pods', work: 1 }],
  ['cocoapods', 'Installing hermes-engine 0.81.5 (was 0.81.4)', null],
  ['cocoapods', 'Installing SDWebImage (5.21.5)', { phase: 'pods', work: 1 }],
  ['cocoapods', 'Using Yoga (0.0.0)', { phase: 'pods', work: 1 }],
  ['cocoapods', '[Codegen] Processing wickspec', { phase: 'pods', labelInside: 'Generating native code' }],
  ['cocoapods', '[ReactNativeDependencies] Building from source: true', { phase: 'pods' }],
  ['cocoapods', '> pod install', { phase: 'pods' }],
  ['cocoapods', '🔍️ Scanning for pods...', { phase: 'pods' }],
  ['none', '[LanternPlugin] Processing the wick', null],
  ['none', '[LanternPlugin] Building from source: true', null],
  [
    'react-native',
    'info Found Xcode workspace "Lantern.xcworkspace"',
    { phase: 'xcode', label: 'Preparing the native build' },
  ],
  [
    'react-native',
    'info Building (using "xcodebuild -workspace Lantern.xcworkspace -scheme Lantern")',
    { phase: 'xcode', label: 'Compiling native code' },
  ],
  ['react-native', '- Building the app........', { phase: 'xcode', label: 'Compiling native code' }],
  ['react-native', 'success Successfully built the app', { phase: 'xcode', ended: true }],
  [
    'xcode-formatters',
    '[ReactNativeDependencies] Compiling a.cpp',
    { phase: 'xcode', work: 1, label: 'Compiling native code' },
  ],
  ['cocoapods', 'Generating Pods project', { phase: 'pods', share: 0.92 }],
  [
    'cocoapods',
    'Pod installation complete! There are 108 dependencies from the Podfile and 116 total pods installed.',
    { phase: 'pods', ended: true, size: 116 },
  ],
  [
    'cocoapods',
    'Pod installation complete! There is 1 dependency from the Podfile and 1 total pod installed.',
    { phase: 'pods', ended: true, size: 1 },
  ],
  [
    'gradle',
    '> Task :expo-modules-core:compileReleaseKotlin UP-TO-DATE',
    { phase: 'gradle', work: 0.005, share: expect.closeTo(0.0103, 4), ahead: 0, typicalMs: 364_800 },
  ],
  ['gradle', '<====---------> 50% EXECUTING [1m 2s]', { phase: 'gradle', share: 0.5 }],
  ['gradle', '<-------------> 80% CONFIGURING [4s]', { phase: 'gradle', share: 0 }],
  ['gradle', 'BUILD SUCCESSFUL in 7m 31s', { phase: 'gradle', ended: true }],
  [
    'fastlane',
    '$ set -o pipefail && xcodebuild -workspace ./A.xcworkspace -scheme A -archivePath /tmp/A.xcarchive archive | tee /tmp/A.log',
    { phase: 'xcode', label: 'Preparing the native build' },
  ],
  [
    'fastlane',
    '$ /usr/bin/xcrun /opt/gems/wrap_xcodebuild/xcbuild-safe.sh -exportArchive -exportOptionsPlist /tmp/o.plist',
    null,
  ],
  [
    'fastlane',
    '$ xcodebuild -exportArchive -exportOptionsPlist /tmp/o.plist',
    { phase: 'xcode', share: 0.96, label: 'Exporting the app' },
  ],
  [
    'fastlane',
    'Successfully exported and signed the ipa file:',
    { phase: 'xcode', ended: true, label: 'Exporting the app' },
  ],
  [
    'xcode-formatters',
    '› Compiling react-native Pods/Yoga » PixelGrid.cpp',
    { phase: 'xcode', work: 1, label: 'Compiling native code' },
  ],
  ['xcode-formatters', '▸ Linking MyApp', { phase: 'xcode', work: 1, label: 'Compiling native code' }],
  [
    'xcode-formatters',
    '[MyApp] Compiling AppDelegate.swift',
    { phase: 'xcode', work: 1, label: 'Compiling native code' },
  ],
  [
    'xcode-formatters',
    '› Executing MyApp » Bundle React Native code and images',
    { phase: 'xcode', work: 1, label: 'Bundling JavaScript' },
  ],
  [
    'xcode-formatters',
    '› Generating debug MyApp » MyApp.app.dSYM',
    { phase: 'xcode', work: 1, label: 'Generating debug symbols' },
  ],
  ['xcode-formatters', '▸ Archive Succeeded', { phase: 'xcode', share: 0.95 }],
  ['xcodebuild', '** ARCHIVE SUCCEEDED **', { phase: 'xcode', share: 0.98, ended: true }],
  ['xcodebuild', '** EXPORT SUCCEEDED **', { phase: 'export', ended: true }],
  [
    'xcodebuild',
    "CompileC /tmp/a.o /tmp/a.cpp normal arm64 c++ com.apple.compilers.llvm.clang.1_0.compiler (in target 'Yoga' from project 'Pods')",
    { phase: 'xcode', work: 1, label: 'Compiling native code' },
  ],
  [
    'xcodebuild',
    'CodeSign /tmp/Debug/Launcher.app (in target: Launcher)',
    { phase: 'xcode', work: 1, label: 'Compiling native code' },
  ],
  [
    'xcodebuild',
    "PhaseScriptExecution Bundle\\ React\\ Native\\ code\\ and\\ images /tmp/Script-1.sh (in target 'A' from project 'A')",
    { phase: 'xcode', work: 2, label: 'Bundling JavaScript' },
  ],
  ['xcodebuild', "Test Case '-[A.B testC]' passed (0.001 seconds).", { phase: 'test', work: 1 }],
  ['xcodebuild', '[12/48] Compiling Foo bar.swift', { phase: 'xcode', work: 1, share: 0.25 }],
  [
    'tartbeat',
    '[tartbeat] Installing node 22.13.0; the image has 24.1.0.',
    { phase: 'command', label: 'Installing node 22.13.0' },
  ],
  ['tartbeat', '[tartbeat] Dependencies are installed in the root of the source: npm ci', { phase: 'install' }],
  ['none', '[tartbeat] The app is dev.example.tiny, version 1.2.3.', null],
  ['none', 'Added a note for the reader', null],
  ['none', 'Compiling everything by hand', null],
  ['none', '[1/4] of a cake', null],
  ['none', 'progress: resolved', null],
];

test.each(LINES)('%s: %s', (_, line, expected) => {
  expect(createRecognisers()(line)).toEqual(expected);
});

test('every tool has a line in this table', () => {
  const tested = new Set(LINES.map(([tool]) => tool));
  expect(RECOGNISERS.map(({ tool }) => tool).filter((tool) => !tested.has(tool))).toEqual([]);
});

test('a tool is asked about lines of its own even though others are spared by the first character', () => {
  for (const [tool, line, expected] of LINES) {
    if (!expected) continue;
    const own = RECOGNISERS.find((recogniser) => recogniser.tool === tool);
    expect(own?.create()(line), `${tool} knows: ${line}`).toEqual(expected);
  }
});

test.each([
  ['▸ Installing DoubleConversion (1.1.6)', { phase: 'pods', work: 1 }],
  ['▸ Generating Pods project', { phase: 'pods', share: 0.92 }],
  ['▸ added 467 packages in 17s', { phase: 'install', ended: true, tookMs: 17_000, size: 467 }],
  ['▸ > Task :app:preBuild UP-TO-DATE', { phase: 'gradle', work: 0.005 }],
  ['▸ ** ARCHIVE SUCCEEDED **', { phase: 'xcode', share: 0.98, ended: true }],
  ['▸ Compiling Wick.swift', { phase: 'xcode', work: 1 }],
])('fastlane marks what any program prints: %s', (line, expected) => {
  expect(createRecognisers()(line)).toMatchObject(expected);
});

test('xcodebuild: the share done is that of its targets', () => {
  const recognise = createRecognisers();
  recognise('note: Target dependency graph (2 targets)');
  recognise("    Target 'A' in project 'P'");
  const touch = (target: string) => recognise(`Touch /tmp/x (in target '${target}' from project 'P')`)?.share;
  const begun = recognise("CompileC a.o a.c (in target 'A' from project 'P')")?.share;
  expect(begun).toBeGreaterThan(0);
  expect(begun).toBeLessThan(0.1);
  expect(touch('A')).toBe(0.5);
  expect(touch('B')).toBe(0.97);
});

test('xcodebuild: a second plan, after a clean, begins anew', () => {
  const recognise = createRecognisers();
  recognise('note: Target dependency graph (1 target)');
  expect(recognise("Touch /tmp/x (in target 'A' from project 'P')")?.share).toBe(0.97);
  recognise('note: Target dependency graph (4 targets)');
  expect(recognise("Touch /tmp/x (in target 'A' from project 'P')")?.share).toBe(0.25);
});

test('xcodebuild: the format of old versions names the target once', () => {
  const recognise = createRecognisers();
  expect(recognise('CompileC a.o a.m normal')).toBeNull();
  expect(recognise('=== BUILD TARGET A OF PROJECT P WITH CONFIGURATION Debug ===')?.phase).toBe('xcode');
  expect(recognise('CompileC a.o a.m normal')).toMatchObject({ phase: 'xcode', work: 1 });
});

test.each([
  ['[RUN_FASTLANE] › Compiling a.cpp', 'RUN_FASTLANE', '› Compiling a.cpp'],
  ['[PREBUILD] - Running prebuild', 'PREBUILD', '- Running prebuild'],
  ['[RUN_FASTLANE]', 'RUN_FASTLANE', ''],
  ['[RUN_FASTLANE] [18:29:31]: ▸ Linking A', 'RUN_FASTLANE', '▸ Linking A'],
  ['[18:29:31]: ▸ Linking A', null, '▸ Linking A'],
  ['INFO [2021-05-19 13:53:02.35]: ▸ Linking A', null, '▸ Linking A'],
  ['[MyApp] Compiling a.swift', null, '[MyApp] Compiling a.swift'],
  ['[1/4] Resolving packages...', null, '[1/4] Resolving packages...'],
  ['[RevenueCat] hello', null, '[RevenueCat] hello'],
])('in front of a line: %s', (line, easPhase, text) => {
  expect(peel(line)).toEqual({ easPhase, text });
});

test.each([
  ['17s', 17_000],
  ['1m 4s', 64_000],
  ['2m', 120_000],
  ['903ms', 903],
  ['0s 321ms', 321],
  ['soon', 0],
])('a duration: %s', (text, expected) => {
  expect(durationMs(text)).toBe(expected);
});
