import { COMPILER_ERROR } from '../compiler-errors.ts';
import type { KnownError } from './known-error.ts';

/** Xcode: its target, compiling, linking, testing. From the particular to the general. */
export const XCODE: readonly KnownError[] = [
  {
    id: 'platform_missing',
    pattern: /error:((?:iOS|watchOS|tvOS|visionOS) [\d.]+) is not installed\. (?:To use with Xcode|Please download)/,
    sentence: 'Xcode lacks the platform $1.',
    advice: 'Run "xcodebuild -downloadPlatform iOS" in the base image and make a new snapshot of it.',
  },
  {
    id: 'destination_not_found',
    pattern:
      /^xcodebuild: error: (?:Unable to find a (?:destination|device) matching the provided destination specifier|Found no destinations for the scheme)/,
    sentence: 'The destination that xcodebuild was given does not exist in the VM.',
    advice: 'Use generic/platform=iOS, or a simulator that "xcrun simctl list" shows in the base image.',
  },
  {
    id: 'sdk_missing',
    pattern: /^xcodebuild: error: SDK "([^"]+)" cannot be located/,
    sentence: 'Xcode in the VM has no SDK "$1".',
    advice: 'Use an SDK that "xcodebuild -showsdks" lists, or another version of Xcode.',
  },
  {
    id: 'scheme_missing',
    pattern: /^xcodebuild: error: The (?:workspace|project) named "([^"]+)" does not contain a scheme named "([^"]+)"/,
    sentence: '$1 has no scheme "$2".',
    advice: 'Mark the scheme as shared in Xcode and commit it, or correct its name.',
  },
  {
    id: 'workspace_missing',
    pattern: /^xcodebuild: error: '([^']+\.(?:xcworkspace|xcodeproj))' does not exist/,
    sentence: '$1 does not exist.',
    advice: 'Run "npx expo prebuild" or "pod install" before it, or correct the path.',
  },
  {
    id: 'swift_packages',
    pattern: /^(?:xcodebuild: )?error: Could not resolve package dependencies/,
    near: [{ where: 'below', within: 4, pattern: /^(?<reason>\S.{1,200})$/ }],
    sentence: 'Swift packages could not be resolved[: $<reason>].',
    advice: 'Most often a repository cannot be reached, or Package.resolved is out of date.',
  },
  {
    id: 'swift_macro_not_trusted',
    pattern:
      /(?:^|: )error: (?:Macro|Plugin|Plug-in) "([^"]+)" (?:from package|must be enabled|from target).*must be enabled/,
    sentence: 'Xcode asks whether the macro or plug-in "$1" of a Swift package may run, and nobody can answer.',
    advice: 'Pass -skipMacroValidation and -skipPackagePluginValidation to xcodebuild.',
  },
  {
    id: 'build_database_locked',
    pattern: /(?:^|: )error: (?:unable to attach DB: .*|.*)\bdatabase is locked\b/,
    sentence: 'Two runs of xcodebuild use the same DerivedData folder at the same time.',
    advice: 'Run them one after the other, or give each its own -derivedDataPath.',
  },
  {
    id: 'multiple_commands',
    pattern: /(?:^|: )error: (?:Multiple commands produce '([^']+)'|Unexpected duplicate tasks)/,
    near: [{ where: 'below', within: 4, pattern: /has (?:a )?\S+ command (?:from '[^']*' )?to '(?<file>[^']+)'/ }],
    sentence: 'Two targets or phases produce the same file: $<1|file>.',
    advice: 'Remove one of them; with pods, check that a resource is not copied twice.',
  },
  {
    id: 'build_input_missing',
    pattern: /(?:^|: )error: Build input files? cannot be found: '([^']+)'/,
    sentence: 'The file $1 is not in the source.',
    advice: 'Most likely git ignores it, so it was not packed: commit it, or pass it as a secret file.',
  },
  {
    id: 'sentry_not_configured',
    pattern:
      /(?:^|: )error: An organization (?:ID or )?slug is required \(provide with --org\)|(?:^|: )error: Auth token is required for this request/,
    sentence: 'Sentry could not upload: its organisation or token is not set.',
    advice: 'Set SENTRY_ORG, SENTRY_PROJECT and SENTRY_AUTH_TOKEN, or SENTRY_DISABLE_AUTO_UPLOAD=true.',
  },
  {
    id: 'icloud_environment',
    pattern: /exportArchive: exportOptionsPlist error for key "iCloudContainerEnvironment"/,
    sentence: 'The app uses iCloud, and the export does not say which environment of iCloud it is for.',
    advice: 'Set "iCloudContainerEnvironment" in the export options, or in ios.entitlements of the app config.',
  },
  {
    id: 'script_sandbox',
    pattern: /(?:^|: )error: Sandbox: .* deny\(1\) file-(?:read|write)\S* (\S+)/,
    sentence: 'A script phase was kept from a file by the sandbox of Xcode: $1',
    advice: 'Set ENABLE_USER_SCRIPT_SANDBOXING to NO for the target.',
  },
  // Errors of compilers: the first one in the log is explained (compiler-errors.ts).
  {
    id: 'xcode_too_old',
    pattern:
      /(?:^|: )error: (?:module compiled with Swift ([\d.]+) cannot be imported by the Swift|React Native requires XCode >= ([\d.]+))/,
    sentence: 'The project needs another version of Xcode than the VM has.',
    advice: 'Use a base image with the Xcode version that the project and its packages were made for.',
  },
  {
    id: 'deployment_target',
    pattern:
      /error: compiling for (?:iOS|tvOS) ([\d.]+), but module '([^']+)' has a minimum deployment target of (?:iOS|tvOS) ([\d.]+)/,
    compiler: true,
    sentence: 'The module $2 needs iOS $3, and a target that uses it supports iOS $1.',
    advice: 'Raise the deployment target of the app and of its pods.',
  },
  {
    id: 'header_missing',
    pattern: /: (?:fatal )?error: '([^']+)' file not found/,
    compiler: true,
    sentence: 'The header $1 was not found.',
    advice: 'Check that the pod that contains it is installed, and that its version fits the others.',
  },
  {
    id: 'swift_module_missing',
    pattern: /: error: (?:no such module|[Uu]nable to find module dependency:) '([^']+)'/,
    compiler: true,
    sentence: 'The Swift module $1 was not found.',
    advice: 'Build the workspace rather than the project, and check that the pod or package is installed.',
  },
  {
    id: 'compile_error',
    pattern: COMPILER_ERROR,
    compiler: true,
    sentence: 'Native code does not compile in $1, line $2. $3',
    advice: 'Correct it; if it is in a package, its version may not fit the others or this Xcode.',
  },
  {
    id: 'undefined_symbols',
    pattern: /(?:^|: )Undefined symbols for architecture (\w+)|^Undefined symbols?: (\S+)/,
    near: [{ where: 'below', within: 3, pattern: /^(?:"(?<symbol>[^"]+)", referenced from:|┌─ Symbol: (?<expo>\S+))/ }],
    sentence: 'The linker did not find symbols that the code uses[, among them $<2|symbol|expo>].',
    advice: 'See the names below it: a library is missing, was built for another processor, or is in another version.',
  },
  {
    id: 'library_missing',
    pattern: /(?:^|: )(?:ld: )?(?:library|framework) (?:not found for -l(\S+)|not found (\S+)|'([^']+)' not found)/,
    sentence: 'The linker did not find the library $1$2$3.',
    advice: 'Build the workspace rather than the project, and run "pod install" before.',
  },
  {
    id: 'duplicate_symbols',
    pattern: /(?:^|: )(?:ld: )?\d+ duplicate symbols?(?: for architecture| found|$)/,
    sentence: 'Two libraries define the same symbol.',
    advice: 'See the names above it, and link only one of them.',
  },
  {
    id: 'simulator_timeout',
    pattern:
      /Timed out waiting \d+ seconds for simulator to boot|Failed to (?:initiate|establish) (?:service connection|communication) (?:to|with) simulator/,
    sentence: 'The simulator did not start in time.',
    advice: 'Build again; if it stays, give the VM more memory and start the simulator before the tests.',
  },
  {
    id: 'test_runner_exited',
    pattern: /Early unexpected exit, operation never finished bootstrapping/,
    sentence: 'The app under test ended before the tests could begin.',
    advice: 'Look for a crash report of the app in the result bundle; a missing library is most often why.',
  },
  {
    id: 'version_already_used',
    pattern:
      /(?:^|: )(?:The bundle version must be higher than the previously uploaded version|"?Redundant Binary Upload)/,
    sentence: 'App Store Connect already has a build with this number.',
    advice: 'Raise the build number (autoIncrement in eas.json does it).',
  },
  {
    id: 'tests_failed',
    pattern: /^\*\* TEST (?:EXECUTE )?FAILED \*\*/,
    near: [
      {
        where: 'above',
        within: 60,
        pattern: /^(?<test>-\[[^\]]+\]|\w+\.\w+\(\))$/,
        takes: 'furthest',
        until: /^Failing tests:/,
      },
    ],
    sentence: 'Tests failed[, among them $<test>].',
    advice: 'See the failed cases above it in the log.',
  },
];
