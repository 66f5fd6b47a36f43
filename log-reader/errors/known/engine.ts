import type { KnownError } from './known-error.ts';

/**
 * Expo's local build engine, eas-cli-local-build-plugin: its job, its credentials, the files it looks for.
 */
export const ENGINE: readonly KnownError[] = [
  {
    id: 'engine_aborted',
    pattern: /^\[ABORT\] Received termination signal\.$|^\[tartbeat\] The engine was stopped\.$/,
    atEnd: true,
    sentence: "Expo's build engine was told to stop before it had ended.",
    advice: 'See what in the build ends it: a time limit of its own, or a signal to its process group.',
  },
  {
    id: 'engine_job_malformed',
    pattern: /^Job object has incorrect format, update to latest versions of/,
    near: [{ where: 'below', within: 3, pattern: /^(?<reason>"?\w.{1,200})$/ }],
    sentence: "Expo's build engine refused its job[: $<reason>].",
    advice: 'Use versions of eas-cli and eas-cli-local-build-plugin that were released together.',
  },
  {
    id: 'engine_version_missing',
    pattern: /No matching version found for (eas-cli(?:-local-build-plugin)?@[\w.-]+)/,
    sentence: 'The registry does not have $1, which this eas-cli asks for.',
    advice:
      'Pin a version of eas-cli whose engine is there, or set EAS_LOCAL_BUILD_PLUGIN_PATH to one that is installed.',
  },
  {
    id: 'engine_wrong_system',
    pattern:
      /^(?:Error: )?(?:iOS builds can only be run on macOS\.|Unsupported platform, macOS is required to build apps for iOS)/,
    sentence: 'An app for iOS can only be built on macOS.',
    advice: 'Send the build to a pool of Macs.',
  },
  {
    id: 'app_folder_missing',
    pattern: /^Error: package\.json does not exist in (?:\S*\/expo\/work\/build\/?)?(\S*)$/,
    sentence: 'There is no package.json in the folder of the app[: $1].',
    advice: 'Check "projectRoot" of the request: it is the folder of the app below the root of the source.',
  },
  {
    id: 'source_not_unpacked',
    pattern: /^Error: tar .{1,400}exited with non-zero code: \d+$/,
    near: [{ where: 'above', within: 12, pattern: /^(?<reason>(?:gzip|tar|bsdtar): \S.{1,200})$/, takes: 'furthest' }],
    sentence: "Expo's build engine could not unpack the source[: $<reason>].",
    advice: 'Submit the build again. If it stays, the disk of the VM may be full.',
  },
  {
    id: 'certificate_password_engine',
    pattern: /^Error: Provided password for the distribution certificate is probably invalid$/,
    sentence: 'The password of the signing certificate (.p12) is wrong.',
    advice: 'Correct "password" in credentials.json, or the secret P12_PASSWORD.',
  },
  {
    id: 'certificate_not_imported',
    pattern: /^Error: fastlane run import_certificate .*exited with non-zero code: \d+$/,
    near: [{ where: 'above', within: 12, pattern: /(?<reason>\bSec\w+(?: \S+)?: .{1,160})$/ }],
    sentence: 'The signing certificate (.p12) could not be imported into the keychain of the build[: $<reason>].',
    advice: 'Check its password. A .p12 of OpenSSL 3 must be written with "-legacy" for macOS.',
  },
  {
    id: 'certificate_mismatch',
    pattern: /^(?:Error: )?Provisioning profile and distribution certificate don't match\./,
    sentence: 'The provisioning profile was made for another certificate than the one that the build has.',
    advice: 'Make a new profile with this certificate, or give the build the certificate of the profile.',
  },
  {
    id: 'credentials_required',
    pattern: /^(?:Error: )?credentials are required for an iOS build$/,
    sentence: 'An app for iOS devices must be signed, and the build has no certificate and profile.',
    advice:
      'Give it credentials.json, or a .p12 and a profile as secret files, or set "simulator": true in the profile.',
  },
  {
    id: 'certificate_not_given',
    pattern: /^TypeError: Cannot read properties of undefined \(reading 'data'\)$/,
    near: [{ where: 'above', within: 4, pattern: /^Creating keychain - /, required: true }],
    sentence: 'An app for iOS devices must be signed, and the job has no certificate for any target.',
    advice:
      'Remove "withoutCredentials" from the profile and give the build a certificate, or build for the simulator.',
  },
  {
    id: 'target_missing',
    pattern: /^Error: Could not find target '([^']+)' in project\.pbxproj$/,
    sentence: 'The Xcode project has no target "$1", which the credentials of the build name.',
    advice: 'Name the targets in credentials.json as the Xcode project names them.',
  },
  {
    id: 'scheme_unclear',
    pattern: /Ejected project should have exactly one scheme/,
    sentence: 'The Xcode project has no shared scheme, or several, so the engine does not know which to build.',
    advice: 'Share one scheme in Xcode and commit it, or name it as "scheme" in the profile.',
  },
  {
    id: 'artifact_pattern',
    pattern: /^(?:\w*Error: )?There are no files matching pattern "([^"]+)"$/,
    sentence: 'The build made no file that matches "$1".',
    advice: 'Correct "applicationArchivePath" of the profile, or "scheme": another one may build another product.',
  },
  {
    id: 'eas_project_id_differs',
    pattern: /The value of the "extra\.eas\.projectId" field \(([^)]+)\) in the app config does not match/,
    sentence: 'The app config has another projectId ($1) than the job.',
    advice: 'Correct "extra.eas.projectId" in the app config, and see that no variable changes it.',
  },
  {
    id: 'engine_silent',
    pattern: /"(Install (?:pods|dependencies))" phase was inactive for over (\d+) minutes/,
    sentence: 'The engine has ended its phase "$1", because it printed nothing for $2 minutes.',
    advice: 'Most often a tool waits for an answer or for a server that does not answer. See its last line.',
  },
  {
    id: 'custom_config_wrong',
    pattern: /^(?:YAMLParseError|Error|BuildConfigError\w*|ZodError): (.{1,200})$/,
    near: [{ where: 'above', within: 4, pattern: /^Failed to parse the custom build config file\.$/, required: true }],
    sentence: 'The config of the custom build could not be read: $1.',
    advice: 'Correct the file in .eas/build/ that "config" of the profile names.',
  },
];

/** Tried after all others, because the tool inside the engine gives a better reason. */
export const ENGINE_GENERAL: readonly KnownError[] = [
  {
    id: 'hook_failed',
    pattern: /^Error: (?:npm|yarn|pnpm|bun) run (eas-build-[\w-]+) exited with non-zero code: (\d+)$/,
    sentence: 'The script "$1" of package.json ended with exit code $2.',
    advice: 'Its own lines stand above in the log. It runs in the folder of the app.',
  },
  {
    id: 'xcode_failed',
    pattern: /^Error: The "Run fastlane" step failed because of an error in the Xcode build process\./,
    near: [{ where: 'below', within: 2, pattern: /^- (?<reason>\S.{1,250})$/ }],
    sentence: 'Xcode could not build the app[: $<reason>].',
    advice: 'The whole log of Xcode is in the artifact xcode-logs.tar.gz.',
  },
  {
    id: 'dependencies_not_installed',
    pattern: /^\[tartbeat\] The dependencies could not be installed: `([^`]+)` ended with exit code (\d+)\./,
    fetches: true,
    sentence: 'The dependencies could not be installed: "$1" ended with exit code $2.',
    advice: 'The lines of the package manager above say why.',
  },
  {
    id: 'app_config_unreadable',
    pattern:
      /^\[tartbeat\] The app config in (.{1,100}?) could not be read: `expo config` ended with exit code (\d+)\./,
    near: [{ where: 'above', within: 40, pattern: /^(?<reason>\w*Error: .{1,200})$/ }],
    sentence: 'The app config in $1 could not be read[: $<reason>].',
    advice: 'Run "npx expo config" there to see the same. Variables that it reads must be set in the build too.',
  },
  {
    id: 'engine_did_not_start',
    pattern: /^\[tartbeat\] The engine ended before its first phase\./,
    near: [{ where: 'above', within: 12, pattern: /^(?<reason>(?:\w*Error: )?(?!at )\S.{1,200})$/, takes: 'furthest' }],
    sentence: "Expo's build engine ended before its first phase[: $<reason>].",
    advice: 'The lines above it in the log say why. The image may lack a tool that it needs.',
  },
];
