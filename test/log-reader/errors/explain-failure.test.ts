import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { explainFailure, KNOWN_ERRORS } from '../../../log-reader/errors/explain-failure.ts';
import { EXCERPTS } from './excerpts.ts';

const whole = (name: string): string[] =>
  readFileSync(new URL(`../../samples/${name}`, import.meta.url), 'utf8').split('\n');

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

const SUCCESSFUL = [
  'xcodebuild-clean-build-xcode15.log',
  'xcodebuild-test-ok.log',
  'expo-engine/ios-simulator-succeeds.log',
  'expo-engine/ios-device-succeeds.log',
  'expo-engine/android-succeeds.log',
  ...Array.from({ length: 7 }, (_, index) => `expo-export-${index + 1}.log`),
];

/** The distance between the lines after which a log breaks off. Each line is in a hundred of these parts. */
const STEP_LINES = 5;

test.each(SUCCESSFUL)('no part of a successful log explains anything, wherever it breaks off: %s', (name) => {
  const lines = whole(name);
  for (let end = lines.length; end > 0; end -= STEP_LINES)
    expect(explainFailure(lines.slice(Math.max(end - 500, 0), end))?.id).toBeUndefined();
});

test.each([
  ['EAS without a terminal', 'Distribution Certificate is not validated for non-interactive builds.'],
  ['EAS without a terminal', 'Build credentials validation is always skipped with the --non-interactive flag.'],
  ['EAS without an account of Apple', "Skipping Provisioning Profile validation because we aren't authenticated."],
  ['CocoaPods', '    WARNING: CocoaPods requires your terminal to be using UTF-8 encoding.'],
  ['npm', 'npm warn ERESOLVE overriding peer dependency'],
  ['npm', 'npm http fetch GET https://registry.example.com/a attempt 1 failed with ECONNRESET'],
  ['yarn', 'warning " > a@1.0.0" has unmet peer dependency'],
  ['Gradle', 'Could not execute [report metric STATISTICS_COLLECT_METRICS_OVERHEAD]'],
  ['Kotlin', "w: file:///src/A.kt:1:2 'val a: Int' is deprecated. error: none"],
  ['clang', "/src/a.m:1:2: warning: 'b.h' file not found [-Wfoo]"],
  ['a formatter', "⚠️  /src/a.m:1:2: 'b.h' file not found"],
  ['a formatter without colours', "[!] /src/a.m:1:2: 'b.h' file not found"],
  ['a formatter on GitHub', "::warning file=/src/a.m,line=1,col=2::'b.h' file not found"],
  ['codesign', 'Warning: unable to build chain to self-signed root for signer "Apple Distribution: A"'],
  ['a command that Xcode runs', '    /bin/sh -c /DD/Script.sh: line 9: /opt/node: No such file or directory'],
])('what builds print that succeed explains nothing: %s', (_, line) => {
  expect(explainFailure([line])).toBeNull();
});

test('a program that was looked for in vain explains nothing if the build went on for long', () => {
  const more = Array.from({ length: 20 }, (_, index) => `CompileC a${index}.o`);
  expect(explainFailure(['script.sh: line 3: swiftlint: command not found', ...more])).toBeNull();
  expect(explainFailure(['script.sh: line 3: swiftlint: command not found'])?.id).toBe('tool_missing');
});

test('an error of an earlier phase of EAS did not fail the build', () => {
  const lines = [
    '[RUN_EXPO_DOCTOR] npm error code ERESOLVE',
    '[PREBUILD] - Creating native directory (./ios)',
    '[PREBUILD] the moon is in the wrong house',
    '[CLEAN_UP_CREDENTIALS] Destroying keychain',
  ];
  expect(explainFailure(lines)).toBeNull();
  const failed = ['[RUN_FASTLANE] error: exportArchive: No Accounts', '[UPLOAD_BUILD_ARTIFACTS] Uploading'];
  expect(explainFailure(failed)?.id).toBe('no_apple_account');
});

/** The explanation of a person who knows the tools (test/samples/README.md). Null: nothing is known. */
test.each([
  ['02-eas-warning-then-network', 'name_not_resolved', 'registry.npmjs.org'],
  ['02b-eas-warning-then-unknown', null, ''],
  ['04-xcbeautify-signing', 'team_missing', 'The target "Lantern"'],
  ['05-script-phase-node-of-another-mac', 'node_of_another_mac', 'another Mac'],
  ['06-pods-not-installed-xcconfig', 'pods_not_installed', 'Pods are not installed'],
  ['06c-codegen-did-not-run', 'pods_not_installed', 'Pods are not installed'],
  ['08-pod-install-codegen-lines', null, ''],
  ['09-rn-cli', null, ''],
  ['10-pod-checksum', 'pods_checksum', 'the pod wick is not the expected one'],
  ['12-podfile-invalid-by-codegen', 'codegen_failed', 'Unknown prop type for "brightness"'],
  ['13-codesign-detritus-script', 'source_extended_attributes', 'extended attributes, or "._" files'],
  ['14-tool-missing', 'tool_missing', 'yarn'],
  ['14b-spawn-fastlane', 'tool_missing_fastlane', 'Fastlane'],
  ['15-corepack-signature', 'corepack_keys', 'corepack of the image is too old'],
  ['16-build-input-missing', 'build_input_missing', 'GoogleService-Info.plist is not in the source'],
  ['17-build-database-locked', 'build_database_locked', 'same DerivedData'],
  ['17b-duplicate-tasks', 'multiple_commands', 'produce the same file: /DD/lantern.app/lantern.entitlements'],
  ['17c-interrupted', 'xcodebuild_interrupted', 'outside'],
  ['18-eas-prompt', 'question_asked', 'nobody can answer one during a build: Path to Google Service Account file.'],
  ['18c-eas-not-authorised', 'eas_not_authorised', 'may not use this project'],
  ['19-metro-emfile', 'too_many_open_files', 'more files at once'],
  ['19b-metro-port', 'port_in_use', '8081'],
  ['20-ruby-activesupport', 'ruby_gems_clash', 'gems'],
  ['21-gradle-task', 'gradle_task_failed', ":wick:configureCMakeRelease[arm64-v8a] failed: Process 'command"],
  ['22-compile-cascade', 'compile_error', "Float.h, line 19. unknown type name 'CGFloat'"],
  ['23-script-phase-unnamed', 'script_phase_failed', '"Upload Debug Symbols to Sentry"'],
  ['25-match-passphrase', 'match_passphrase', 'passphrase of match is wrong'],
  ['27-pod-prepare-command', 'pods_prepare_command', 'cp: framework/packages/wick/..: File exists'],
] as const)('from the field: %s', (name, id, says) => {
  const explanation = explainFailure(whole(`field/${name}.log`));
  expect(explanation?.id ?? null).toBe(id);
  expect(explanation?.sentence ?? '').toContain(says);
});

test('every log from the field is in this table', () => {
  const tested = readFileSync(new URL(import.meta.url), 'utf8');
  const names = readdirSync(new URL('../../samples/field/', import.meta.url)).map((name) => name.replace('.log', ''));
  expect(names.filter((name) => !tested.includes(`'${name}'`))).toEqual([]);
});

/** Recorded from the real engine and eas-cli, each of which was made to fail in this way. */
test.each([
  ['expo-engine/aborted', 'engine_aborted', 'told to stop'],
  [
    'expo-engine/certificate-import-fails',
    'certificate_not_imported',
    'The phase PREPARE_CREDENTIALS failed. The signing',
  ],
  ['expo-engine/certificate-not-valid', 'certificate_import', 'The phase PREPARE_CREDENTIALS failed.'],
  ['expo-engine/cocoapods-missing', 'tool_missing_cocoapods', 'CocoaPods is not installed'],
  ['expo-engine/custom-config-wrong', 'custom_config_wrong', '.eas/build/none.yml'],
  ['expo-engine/custom-step-fails', 'phase_failed', 'The step "Check the weather"'],
  ['expo-engine/fastlane-fails', 'phase_failed', 'RUN_FASTLANE of Expo\'s build engine failed: "fastlane gym" ended'],
  ['expo-engine/fastlane-missing', 'tool_missing_fastlane', 'Fastlane is not installed'],
  ['expo-engine/job-refused', 'engine_job_malformed', '"appId" must be a string'],
  ['expo-engine/lock-file-differs', 'lockfile_out_of_date', 'The phase INSTALL_DEPENDENCIES failed. The lock file'],
  ['expo-engine/manager-missing', 'tool_missing', 'The phase PRE_INSTALL_HOOK failed. The program bun'],
  ['expo-engine/no-app-at-the-pattern', 'artifact_pattern', 'The phase UPLOAD_APPLICATION_ARCHIVE failed.'],
  ['expo-engine/no-app-folder', 'app_folder_missing', 'The phase PRE_INSTALL_HOOK failed.'],
  ['expo-engine/no-certificate', 'certificate_not_given', 'The phase PREPARE_CREDENTIALS failed.'],
  ['expo-engine/no-credentials', 'credentials_required', 'The phase PREPARE_CREDENTIALS failed.'],
  ['expo-engine/no-scheme', 'scheme_unclear', 'The phase RUN_FASTLANE failed.'],
  ['expo-engine/no-such-target', 'target_missing', 'The phase CONFIGURE_XCODE_PROJECT failed.'],
  ['expo-engine/pods-fail', 'podfile_invalid', 'The phase INSTALL_PODS failed. The Podfile'],
  ['expo-engine/pre-install-hook-fails', 'hook_failed', 'The phase PRE_INSTALL_HOOK failed. The script'],
  ['expo-engine/success-hook-fails', 'hook_failed', 'The phase ON_BUILD_SUCCESS_HOOK failed.'],
  ['expo-engine/unpacking-fails', 'source_not_unpacked', 'The phase PREPARE_PROJECT failed.'],
  [
    'expo-engine/xcode-fails',
    'xcode_failed',
    "The phase RUN_FASTLANE failed. Xcode could not build the app: cannot find 'Lan",
  ],
  ['eas/api-gone', 'expo_unreachable', 'could not be reached'],
  ['eas/cli-version', 'eas_cli_version', '>= 99.0.0'],
  ['eas/gradle-fails', 'disk_full', 'The phase RUN_GRADLEW failed. The disk'],
  ['eas/install-fails', 'lockfile_missing', 'no lock file'],
  ['eas/job-too-large', 'eas_job_too_large', 'larger than'],
  ['eas/no-certificate', 'eas_credentials_missing', 'no signing credentials'],
  ['eas/no-certificate-internal', 'eas_credentials_missing', 'no signing credentials'],
  ['eas/no-credentials-json', 'eas_credentials_missing', 'no signing credentials'],
  ['eas/no-dev-client', 'dev_client_missing', 'expo-dev-client'],
  ['eas/no-environment', 'expo_environment_missing', '"production"'],
  ['eas/no-package', 'bundle_identifier_missing', 'android.package'],
  ['eas/no-profile', 'eas_profile_missing', '"preview"'],
  ['eas/no-project-id', 'eas_not_configured', 'not linked'],
  ['eas/no-project-id-robot', 'eas_not_configured', 'not linked'],
  ['eas/no-token', 'expo_login', 'Expo account'],
  ['eas/other-owner', 'eas_project_differs', 'owner "somebody"'],
  ['eas/other-slug', 'eas_project_differs', 'slug "other"'],
  ['eas/unknown-project-id', 'eas_not_configured', 'not linked'],
  ['eas/wrong-token', 'expo_token_invalid', 'refused the token'],
] as const)('recorded from Expo: %s', (name, id, says) => {
  const explanation = explainFailure(whole(`${name}.log`));
  expect(explanation?.id).toBe(id);
  expect(explanation?.sentence).toContain(says);
});

test('every log recorded from Expo is in one of these tables', () => {
  const tested = readFileSync(new URL(import.meta.url), 'utf8');
  for (const folder of ['expo-engine', 'eas']) {
    const names = readdirSync(new URL(`../../samples/${folder}/`, import.meta.url));
    const missing = names.filter((name) => !tested.includes(`'${folder}/${name.replace('.log', '')}`));
    expect(missing, folder).toEqual([]);
  }
});

test('a phase that failed is named although later hooks fail too and print far more than it', () => {
  const noise = Array.from({ length: 2_000 }, (_, index) => `[ON_BUILD_ERROR_HOOK] line ${index}`);
  const lines = whole('expo-engine/unpacking-fails.log');
  const at = lines.findIndex((line) => line.startsWith('[ON_BUILD_ERROR_HOOK]'));
  const explanation = explainFailure([...lines.slice(0, at), ...noise, 'npm error code ERESOLVE', ...lines.slice(at)]);
  expect(explanation?.id).toBe('source_not_unpacked');
  expect(explanation?.sentence).toMatch(/^The phase PREPARE_PROJECT failed\./);
});

test('a line of a tool that looks like a report of the engine does not make its phase the failed one', () => {
  const lines = [
    '[RUN_FASTLANE] Error: a thing that the tool did not mind',
    '[CLEAN_UP_CREDENTIALS] Destroying keychain',
    '[PARSE_XCACTIVITYLOG] Local builds skip build performance analysis.',
    '[UPLOAD_APPLICATION_ARCHIVE] ',
    'Error: There are no files matching pattern "a.ipa"',
    '[ON_BUILD_COMPLETE_HOOK] done',
    'Build failed',
  ];
  expect(explainFailure(lines)?.sentence).toMatch(/^The phase UPLOAD_APPLICATION_ARCHIVE failed\./);
  expect(explainFailure(lines.slice(0, 3))).toBeNull();
});

test('the explanation of a failed phase has no arguments of a program, because they may be passwords', () => {
  const failed = 'Error: fastlane run open_door key:not-for-anybody exited with non-zero code: 1';
  const explanation = explainFailure(['[PREPARE_CREDENTIALS] ', failed, '[ON_BUILD_ERROR_HOOK] x', '', 'Build failed']);
  expect(explanation?.id).toBe('phase_failed');
  expect(explanation?.sentence).not.toContain('not-for-anybody');
});

test('what Tartbeat said of a missing secret is said again if an install failed, and else not', () => {
  const said =
    'package-lock.json fetches packages from npm.acme.dev, but this build has no secret NPMRC. If npm.acme.dev asks for a token, store a line `//npm.acme.dev/:_authToken=…`.';
  const start = [`[tartbeat] Private access: ${said}`, '[INSTALL_DEPENDENCIES] Running "npm ci"'];
  const refused = [...start, '[INSTALL_DEPENDENCIES] npm error code E401'];
  expect(explainFailure(refused)).toMatchObject({ id: 'registry_login' });
  expect(explainFailure(refused)?.advice).toContain(said);
  const unknown = [
    ...start,
    '[INSTALL_DEPENDENCIES] ',
    'Error: npm ci exited with non-zero code: 1',
    '',
    'Build failed',
  ];
  expect(explainFailure(unknown)?.advice).toContain(said);
  expect(explainFailure([...start, '[RUN_FASTLANE] error: exportArchive: No Accounts'])?.advice).not.toContain('acme');
});

test('where codesign has refused the identity, its words are in the explanation', () => {
  const words = '[tartbeat] codesign cannot sign with 0A1B: /tmp/program: errSecInternalComponent';
  const explanation = explainFailure([...whole('expo-engine/certificate-not-valid.log'), words]);
  expect(explanation?.id).toBe('certificate_import');
  expect(explanation?.sentence).toContain('codesign says: /tmp/program: errSecInternalComponent');
});

test('of the errors of a compiler the first counts, of those in the project before others', () => {
  const apple = "/Applications/Xcode.app/SDKs/iPhoneOS.sdk/UIKit.framework/Headers/A.h:1:2: error: unknown type 'B'";
  const pod = "/src/ios/Pods/Wick/a.m:1:2: error: use of undeclared 'c'";
  const own = ["/src/ios/Lantern/a.swift:1:2: error: cannot find 'd'", "/src/ios/Lantern/b.swift:3:4: error: no 'e'"];
  const follows = "/src/ios/Lantern/c.m:9:9: error: could not build module 'Wick'";
  const lineOf = (...lines: string[]) => explainFailure([...lines, '** BUILD FAILED **'])?.line;
  expect(lineOf(apple, pod, ...own, follows)).toBe(own[0]);
  expect(lineOf(apple, follows, pod)).toBe(pod);
  expect(lineOf(apple, follows)).toBe(apple);
  const many = Array.from({ length: 1_000 }, (_, index) => `CompileC a${index}.o (in target 'A' from project 'A')`);
  expect(lineOf(pod, ...many)).toBe(pod);
});

test.each([
  ['xcodebuild-compile-error.log', 'compile_error'],
  ['xcodebuild-early-unexpected-exit.log', 'test_runner_exited'],
  ['xcodebuild-simulator-timeout.log', 'simulator_timeout'],
  ['xcodebuild-old-format-fail.log', null],
])('a recorded failure: %s', (name, id) => {
  expect(explainFailure(whole(name))?.id ?? null).toBe(id);
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
  // A pattern that backtracks without end would hang here.
  const hostile = ['"', ' ', 'a', ':', '/', 'error: ', "'", '(', '.swift:1', 'Killed: 9 '].map((part) =>
    part.repeat(20_000),
  );
  expect(explainFailure(hostile.concat(Array.from({ length: 390 }, () => hostile[1]!)))).toBeDefined();
});
