/**
 * Lists for each known error the last lines of a log as the tools print them, and the line that must be
 * found.
 */
export interface Excerpt {
  lines: string[];
  /** Part of the sentence, where it names something of the log. */
  says?: string;
}

export const EXCERPTS: Record<string, Excerpt[]> = {
  disk_full: [
    { lines: ["Execution failed for task ':app:mergeReleaseResources'.", '> No space left on device'] },
    {
      lines: [
        '[INSTALL_PODS] [ReactNativeCore] Failed to download release tarball: No space left on device - fcopyfile',
        '[INSTALL_PODS] [!] Failed to load react-native podspec',
      ],
    },
    { lines: ['npm error code ENOSPC', 'npm error ENOSPC: no space left on device, write'] },
    {
      lines: [
        "clang: error: unable to open output file '/tmp/a.o': 'No space left on device'",
        'ld: No space left on device',
      ],
    },
  ],
  js_out_of_memory: [
    {
      lines: [
        '<--- Last few GCs --->',
        'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory',
        'Command PhaseScriptExecution failed with a nonzero exit code',
      ],
    },
  ],
  java_out_of_memory: [
    { lines: ['* What went wrong:', "Execution failed for task ':app:mergeDexRelease'.", '> Java heap space'] },
    {
      lines: [
        'The message received from the daemon indicates that the daemon has disappeared.',
        'Gradle build daemon disappeared unexpectedly (it may have been killed or may have crashed)',
      ],
    },
  ],
  out_of_memory: [
    {
      lines: [
        '/bin/sh: line 1: 5623 Killed: 9               npx expo export:embed',
        'Command PhaseScriptExecution failed with a nonzero exit code',
      ],
    },
    {
      lines: [
        'clang: error: unable to execute command: Killed: 9',
        'clang: error: clang frontend command failed due to signal',
      ],
    },
  ],
  xcode_license: [
    {
      lines: [
        "You have not agreed to the Xcode license agreements. Please run 'sudo xcodebuild -license' from within a Terminal window to review and agree to the Xcode and Apple SDKs license.",
      ],
    },
  ],
  xcode_not_selected: [
    {
      lines: [
        "xcode-select: error: tool 'xcodebuild' requires Xcode, but active developer directory '/Library/Developer/CommandLineTools' is a command line tools instance",
      ],
    },
  ],
  tool_missing_fastlane: [
    { lines: ["Fastlane is not available, make sure it's installed and in your PATH", 'Error: build command failed.'] },
    { lines: ['bash: line 1: fastlane: command not found'] },
    { lines: ['zsh:1: command not found: fastlane'] },
  ],
  tool_missing_cocoapods: [
    { lines: ["Cocoapods is not available, make sure it's installed and in your PATH"] },
    {
      lines: ["CocoaPods is not available, make sure it's installed and in your PATH", 'Error: build command failed.'],
    },
    { lines: ['bash: line 3: pod: command not found'] },
  ],
  gem_bundler_version: [
    {
      lines: [
        "/System/Library/Frameworks/Ruby.framework/Versions/2.6/usr/lib/ruby/2.6.0/rubygems/dependency.rb:313:in `to_specs': Could not find 'bundler' (2.2.3) required by your /Users/admin/build/ios/Gemfile.lock. (Gem::MissingSpecVersionError)",
      ],
      says: '2.2.3',
    },
  ],
  gems_missing: [
    {
      lines: [
        'Could not find CFPropertyList-3.0.6 in any of the sources',
        'Run `bundle install` to install missing gems.',
      ],
    },
    { lines: ['bundler: command not found: fastlane', 'Install missing gem executables with `bundle install`'] },
  ],
  keychain_locked: [
    {
      lines: [
        '    /usr/bin/codesign --force --sign 8E5D1A --entitlements /tmp/A.app.xcent --generate-entitlement-der /tmp/A.app',
        '/tmp/Build/InstallationBuildProductsLocation/Applications/A.app: errSecInternalComponent',
        'Command CodeSign failed with a nonzero exit code',
        '** ARCHIVE FAILED **',
      ],
    },
    { lines: ['/tmp/test.app: User interaction is not allowed.', 'Command /usr/bin/codesign failed with exit code 1'] },
    { lines: ['security: SecKeychainItemImport: User interaction is not allowed.'] },
  ],
  keychain_password: [
    { lines: ['security: SecKeychainUnlock build.keychain: The user name or passphrase you entered is not correct.'] },
  ],
  keychain_missing: [
    { lines: ['security: SecKeychainUnlock build.keychain: The specified keychain could not be found.'] },
  ],
  certificate_password: [
    { lines: ['security: SecKeychainItemImport: MAC verification failed'] },
    { lines: ['security: SecKeychainItemImport: MAC verification failed during PKCS12 import (wrong password?)'] },
  ],
  certificate_import: [
    {
      lines: [
        '[PREPARE_CREDENTIALS] Validating whether the distribution certificate has been imported successfully',
        "Error: Distribution certificate with fingerprint 3A50325D796B9014D4F4FF06B7D708A42BF20E11 hasn't been imported successfully",
        '    at Keychain.ensureCertificateImported (/opt/node_modules/@expo/build-tools/dist/ios/credentials/keychain.js:57:19)',
      ],
    },
  ],
  certificate_untrusted: [
    {
      lines: [
        'Warning: unable to build chain to self-signed root for signer "Apple Distribution: Example (ABCDE12345)"',
        'Command CodeSign failed with a nonzero exit code',
      ],
    },
  ],
  certificate_expired: [
    { lines: ['/tmp/A.app: CSSMERR_TP_CERT_EXPIRED', 'Command CodeSign failed with a nonzero exit code'] },
  ],
  certificate_limit: [
    {
      lines: [
        '[!] Could not create another Distribution certificate, reached the maximum number of available Distribution certificates.',
      ],
      says: 'Distribution',
    },
  ],
  profile_expired: [
    {
      lines: [
        "/Users/admin/ios/A.xcodeproj: error: Provisioning profile \"A AppStore\" expired on 10 Dec 2023. (in target 'A' from project 'A')",
        '** ARCHIVE FAILED **',
      ],
      says: 'A AppStore',
    },
    { lines: ['error: exportArchive: Provisioning profile "A AdHoc" has expired.'], says: 'A AdHoc' },
  ],
  profile_without_certificate: [
    {
      lines: [
        "[RUN_FASTLANE] error: Provisioning profile \"*[expo] XXX AppStore 2023-01-17T19:29:53.926Z\" doesn't include signing certificate \"Apple Distribution: XXX (XXX)\". (in target 'XXX' from project 'XXX')",
      ],
      says: 'Apple Distribution: XXX',
    },
    {
      lines: [
        '[13:53:02]: ▸ error: exportArchive: Provisioning profile "x" doesn\'t include signing certificate "Apple Distribution: y"',
      ],
    },
  ],
  profile_without_capability: [
    {
      lines: [
        '❌  lantern/lantern: Entitlements file defines the value "aps-environment" which is not registered for profile "A AppStore".',
      ],
      says: '"A AppStore" lacks a capability that the app asks for: aps-environment',
    },
    {
      lines: [
        "/tmp/A.xcodeproj: error: Provisioning profile \"A AppStore\" doesn't support the Push Notifications capability. (in target 'A' from project 'A')",
        "/tmp/A.xcodeproj: error: Provisioning profile \"A AppStore\" doesn't include the aps-environment entitlement. (in target 'A' from project 'A')",
      ],
      says: 'aps-environment',
    },
  ],
  profile_not_found: [
    {
      lines: [
        "error: exportArchive: No profiles for 'org.example.my-app' were found",
        'Error Domain=IDEProfileLocatorErrorDomain Code=1 "No profiles for \'org.example.my-app\' were found"',
      ],
      says: 'org.example.my-app',
    },
    {
      lines: [
        "/tmp/A.xcodeproj: error: No profiles for 'com.example.a' were found: Xcode couldn't find any iOS App Development provisioning profiles matching 'com.example.a'. (in target 'A' from project 'A')",
      ],
    },
  ],
  profile_not_set: [
    {
      lines: [
        "/tmp/A.xcodeproj: error: \"Widgets\" requires a provisioning profile. Select a provisioning profile in the Signing & Capabilities editor. (in target 'Widgets' from project 'A')",
      ],
      says: 'Widgets',
    },
  ],
  team_missing: [
    {
      lines: [
        'error Signing for "Lantern" requires a development team. Select a development team in the editor.',
        'error Failed to build ios project. "xcodebuild" exited with error code \'65\'.',
      ],
      says: 'Lantern',
    },
    {
      lines: [
        "/tmp/Pods/Pods.xcodeproj: error: Signing for \"EXConstants-EXConstants\" requires a development team. Select a development team in the Signing & Capabilities editor. (in target 'EXConstants-EXConstants' from project 'Pods')",
      ],
      says: 'EXConstants-EXConstants',
    },
  ],
  certificate_not_found: [
    {
      lines: [
        '/tmp/A.xcodeproj: error: No signing certificate "iOS Distribution" found: No "iOS Distribution" signing certificate matching team ID "D7TR486TEH" with a private key was found. (in target \'A\' from project \'A\')',
      ],
    },
    { lines: ['Apple Distribution: Example (ABCDE12345): no identity found'] },
  ],
  no_apple_account: [
    { lines: ['/tmp/A.xcodeproj: error: No Account for Team "ABCDE12345". Add a new account in Accounts settings.'] },
    { lines: ['error: exportArchive: No Accounts'] },
  ],
  pods_deployment_target: [
    {
      lines: [
        '[INSTALL_PODS] [!] CocoaPods could not find compatible versions for pod "ExpoModulesCore":',
        '[INSTALL_PODS]   In Podfile:',
        '[INSTALL_PODS] Specs satisfying the `ExpoModulesCore (from `../node_modules/expo-modules-core`)` dependency were found, but they required a higher minimum deployment target.',
      ],
      says: 'newer iOS',
    },
  ],
  pods_incompatible: [
    {
      lines: [
        '[!] CocoaPods could not find compatible versions for pod "Firebase/Core":',
        '  In snapshot (Podfile.lock):',
        '    Firebase/Core (= 6.14.0)',
      ],
      says: 'Firebase/Core',
    },
  ],
  pods_unknown: [
    {
      lines: [
        '[INSTALL_PODS] [!] Unable to find a specification for `sovran-react-native` depended upon by `segment-analytics-react-native`',
        '[INSTALL_PODS]',
        'Error: pod exited with non-zero code: 1',
      ],
      says: 'sovran-react-native',
    },
  ],
  pods_download: [
    {
      lines: [
        "[!] CDN: trunk URL couldn't be downloaded: https://cdn.cocoapods.org/all_pods_versions_f_2_0.txt Response: Timeout was reached",
      ],
    },
    { lines: ['[!] CDN: trunk Repo update failed - 56 error(s):'] },
  ],
  pods_install_error: [
    {
      lines: [
        '[!] Error installing RevenueCat',
        '[!] /usr/bin/git clone https://github.com/RevenueCat/purchases-ios.git /tmp/d',
      ],
      says: 'RevenueCat',
    },
  ],
  pods_version: [
    {
      lines: [
        '[!] `React` requires CocoaPods version `>= 1.10.1`, which is not satisfied by your current version, `1.10.0`.',
      ],
      says: '>= 1.10.1',
    },
  ],
  pods_encoding: [
    {
      lines: [
        '    WARNING: CocoaPods requires your terminal to be using UTF-8 encoding.',
        "/opt/ruby/lib/ruby/3.2.0/unicode_normalize/normalize.rb:141:in `normalize': Unicode Normalization not appropriate for ASCII-8BIT (Encoding::CompatibilityError)",
      ],
    },
  ],
  pods_static_swift: [
    {
      lines: [
        'The Swift pod `FirebaseCoreInternal` depends upon `GoogleUtilities`, which does not define modules. To opt into those targets',
      ],
    },
    { lines: ['[!] The following Swift pods cannot yet be integrated as static libraries:'] },
  ],
  podfile_missing: [{ lines: ["[!] No `Podfile' found in the project directory."] }],
  podfile_invalid: [
    {
      lines: [
        '[!] Invalid `Podfile` file: cannot load such file -- /tmp/node_modules/expo/scripts/autolinking.',
        ' #  from /tmp/ios/Podfile:1',
      ],
      says: 'cannot load such file',
    },
  ],
  pods_out_of_sync: [
    {
      lines: [
        'diff: /Podfile.lock: No such file or directory',
        "error: The sandbox is not in sync with the Podfile.lock. Run 'pod install' or update your CocoaPods installation.",
      ],
    },
  ],
  ruby_architecture: [
    {
      lines: [
        "LoadError - dlopen(/Library/Ruby/Gems/2.6.0/gems/ffi-1.15.5/lib/ffi_c.bundle, 0x0009): tried: '/Library/Ruby/Gems/2.6.0/gems/ffi-1.15.5/lib/ffi_c.bundle' (mach-o file, but is an incompatible architecture (have 'x86_64', need 'arm64e'))",
      ],
    },
  ],
  lockfile_out_of_date: [
    {
      lines: [
        'npm error code EUSAGE',
        'npm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync. Please update your lock file with `npm install` before continuing.',
      ],
    },
    { lines: ['error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.'] },
    { lines: ['➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.'] },
    {
      lines: [
        ' ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to date with package.json',
      ],
    },
    { lines: ['error: lockfile had changes, but lockfile is frozen'] },
  ],
  lockfile_missing: [
    { lines: ['npm error The `npm ci` command can only install with an existing package-lock.json or'] },
    { lines: [' ERR_PNPM_NO_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is absent'] },
  ],
  peer_dependencies: [{ lines: ['npm error code ERESOLVE', 'npm error ERESOLVE could not resolve'] }],
  package_integrity: [
    { lines: ['npm error code EINTEGRITY', 'npm error sha512-aaaa integrity checksum failed when using sha512'] },
    {
      lines: [
        'error https://registry.yarnpkg.com/a.tgz: Integrity check failed for "react-native" (computed integrity doesn\'t match our records, got "sha512-3j")',
      ],
    },
  ],
  registry_login: [
    { lines: ['npm error code E401', 'npm error Incorrect or missing password.'] },
    { lines: [' ERR_PNPM_FETCH_403  GET https://npm.pkg.github.com/@a%2Fb: Forbidden - 403'] },
  ],
  package_not_found: [
    {
      lines: ['npm error code E404', "npm error 404  '@acme/secret@^1.0.0' is not in this registry."],
      says: '@acme/secret@^1.0.0',
    },
    {
      lines: ['npm error code ETARGET', 'npm error notarget No matching version found for expo@99.0.0.'],
      says: 'expo@99.0.0',
    },
    { lines: ['error Couldn\'t find any versions for "react" that matches "99"'], says: 'react' },
    { lines: [' ERR_PNPM_NO_MATCHING_VERSION  No matching version found for react@99'] },
  ],
  node_version: [
    { lines: ['npm error code EBADENGINE', 'npm error engine Unsupported engine'] },
    {
      lines: [
        'error metro@0.83.1: The engine "node" is incompatible with this module. Expected version ">=20.19.4". Got "18.20.8"',
      ],
    },
  ],
  patch_failed: [
    {
      lines: [
        '**ERROR** Failed to apply patch for package react-native-screens at path',
        '    node_modules/react-native-screens',
      ],
      says: 'react-native-screens',
    },
  ],
  package_script_failed: [
    { lines: ['npm error Missing script: "build:ios"', 'npm error To see a list of scripts, run:'], says: 'build:ios' },
    { lines: ['error Command "build" not found.'], says: 'build' },
  ],
  expo_login: [
    {
      lines: [
        'An Expo user account is required to proceed.',
        " ›   Error: Either log in with eas login or set the EXPO_TOKEN environment variable if you're using EAS CLI on CI (Learn more)",
      ],
    },
  ],
  expo_token_invalid: [{ lines: ['The bearer token is invalid', 'Error: GraphQL request failed.'] }],
  eas_not_configured: [
    {
      lines: [
        'EAS project not configured.',
        "Must configure EAS project by running 'eas init' before this command can be run in non-interactive mode.",
      ],
    },
  ],
  eas_profile_missing: [{ lines: ['    Error: Missing build profile in eas.json: staging'], says: 'staging' }],
  eas_credentials_missing: [
    {
      lines: [
        'Distribution Certificate is not validated for non-interactive builds.',
        'Failed to set up credentials.',
        'Credentials are not set up. Run this command again in interactive mode.',
      ],
    },
  ],
  bundle_identifier_missing: [
    {
      lines: [
        "CommandError: Required property 'ios.bundleIdentifier' is not found in the project app.json. This is required to open the app.",
      ],
      says: 'ios.bundleIdentifier',
    },
  ],
  google_services_missing: [
    {
      lines: [
        "[PREBUILD] Error: [ios.dangerous]: withIosDangerousBaseMod: ENOENT: no such file or directory, copyfile '/Users/admin/build/abc' -> '/Users/admin/build/ios/testapp/GoogleService-Info.plist'",
      ],
      says: 'GoogleService-Info.plist',
    },
    {
      lines: [
        'Error: [android.dangerous]: withAndroidDangerousBaseMod: Cannot copy google-services.json from /a/test-google-services.json to /a/google-services.json. Please make sure the source and destination paths exist.',
      ],
      says: 'google-services.json',
    },
    {
      lines: [
        "Execution failed for task ':app:processReleaseGoogleServices'.",
        '> File google-services.json is missing. The Google Services Plugin cannot function without it.',
      ],
      says: 'google-services.json',
    },
  ],
  config_plugin_missing: [
    {
      lines: ['PluginError: Failed to resolve plugin for module "expo-camera" relative to "/Users/admin/build"'],
      says: 'expo-camera',
    },
  ],
  expo_config_invalid: [
    {
      lines: ['ConfigError: The expected package.json path: /Users/admin/build/package.json does not exist'],
      says: 'does not exist',
    },
    {
      lines: ['Error: Error reading Expo config at /Users/admin/build/app.config.js: API_URL is not set'],
      says: 'API_URL is not set',
    },
  ],
  js_module_unresolved: [
    {
      lines: [
        '[EAGER_BUNDLE] Error: Unable to resolve module ./src/Missing from /Users/admin/build/App.js:',
        'None of these files exist:',
      ],
      says: './src/Missing',
    },
    { lines: ['Unable to resolve "expo-camera" from "src/Scan.tsx"'], says: 'expo-camera' },
  ],
  js_syntax: [
    {
      lines: ['SyntaxError: /Users/admin/build/src/App.tsx: Unexpected token (12:4)', '  10 | export'],
      says: 'src/App.tsx',
    },
  ],
  node_module_missing: [
    { lines: ["Error: Cannot find module 'babel-preset-expo'", 'Require stack:'], says: 'babel-preset-expo' },
    { lines: ["Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'zod' imported from /tmp/a.mjs"], says: 'zod' },
  ],
  android_sdk_missing: [
    {
      lines: [
        "> SDK location not found. Define a valid SDK location with an ANDROID_HOME environment variable or by setting the sdk.dir path in your project's local properties file at '/a/local.properties'.",
      ],
    },
  ],
  android_licenses: [
    {
      lines: [
        '> Failed to install the following Android SDK packages as some licences have not been accepted.',
        '     platforms;android-35 Android SDK Platform 35',
      ],
    },
  ],
  java_version: [
    { lines: ['> Unsupported class file major version 69'] },
    { lines: ['   > Android Gradle plugin requires Java 17 to run. You are currently using Java 11.'] },
    { lines: ["ERROR: JAVA_HOME is not set and no 'java' command could be found in your PATH."] },
  ],
  keystore: [
    { lines: ['> Failed to read key keyalias from store "/build/keystore.jks": Invalid keystore format'] },
    { lines: ["> Keystore file '/build/android/app/release.jks' not found for signing config 'release'."] },
  ],
  gradle_dependency: [
    {
      lines: ["> Could not resolve all files for configuration ':app:releaseRuntimeClasspath'."],
      says: ':app:releaseRuntimeClasspath',
    },
    {
      lines: ['   > x', '> Could not resolve com.facebook.react:react-android:0.81.5.'],
      says: 'com.facebook.react:react-android:0.81.5',
    },
  ],
  git_access: [
    { lines: ['git@github.com: Permission denied (publickey).', 'fatal: Could not read from remote repository.'] },
    { lines: ['Host key verification failed.'] },
    { lines: ["fatal: could not read Username for 'https://github.com': terminal prompts disabled"] },
  ],
  tls_certificate: [
    {
      lines: [
        "fatal: unable to access 'https://github.com/a/b.git/': SSL certificate problem: unable to get local issuer certificate",
      ],
    },
    { lines: ['npm error code SELF_SIGNED_CERT_IN_CHAIN', 'npm error self-signed certificate in certificate chain'] },
  ],
  name_not_resolved: [
    {
      lines: ["fatal: unable to access 'https://github.com/a/b.git/': Could not resolve host: github.com"],
      says: 'github.com',
    },
    {
      lines: [
        'npm error network request to https://registry.example.com/expo failed, reason: getaddrinfo ENOTFOUND registry.example.com',
      ],
      says: 'registry.example.com',
    },
  ],
  connection_failed: [
    { lines: ['npm error code ECONNRESET', 'npm error network aborted'] },
    { lines: ['curl: (28) Operation timed out after 300000 milliseconds with 0 bytes received'] },
    { lines: ['fatal: the remote end hung up unexpectedly'] },
  ],
  rate_limited: [
    {
      lines: [
        "[!] CDN: trunk URL couldn't be downloaded: https://cdn.jsdelivr.net/cocoa/Specs/a.podspec.json Response: 429 429: Too Many Requests",
      ],
    },
    { lines: ['npm error code E429', 'npm error 429 Too Many Requests - GET https://registry.example.com/expo'] },
  ],
  platform_missing: [
    {
      lines: [
        '[09:19:50]: ▸ xcodebuild: error: Unable to find a destination matching the provided destination specifier:',
        '[09:19:50]: ▸ \t\t{ generic:1, platform:iOS }',
        '[09:19:50]: ▸ \tIneligible destinations for the "Runner" scheme:',
        '[09:19:50]: ▸ \t\t{ platform:iOS, id:dvtdevice-DVTiPhonePlaceholder-iphoneos:placeholder, name:Any iOS Device, error:iOS 26.0 is not installed. Please download and install the platform from Xcode > Settings > Components. }',
        '[09:19:50]: Exit status: 70',
      ],
      says: 'iOS 26.0',
    },
  ],
  destination_not_found: [
    {
      lines: [
        'xcodebuild: error: Unable to find a destination matching the provided destination specifier:',
        '\t\t{ platform:iOS Simulator, name:iPhone 4 }',
      ],
    },
    { lines: ["xcodebuild: error: Found no destinations for the scheme 'A' and action build."] },
  ],
  sdk_missing: [{ lines: ['xcodebuild: error: SDK "iphoneos12.4" cannot be located.'], says: 'iphoneos12.4' }],
  scheme_missing: [
    {
      lines: [
        'xcodebuild: error: The workspace named "A" does not contain a scheme named "B". The "-list" option can be used to find the names of the schemes in the workspace.',
      ],
      says: 'no scheme "B"',
    },
  ],
  workspace_missing: [{ lines: ["xcodebuild: error: 'A.xcworkspace' does not exist."], says: 'A.xcworkspace' }],
  swift_packages: [
    {
      lines: [
        'xcodebuild: error: Could not resolve package dependencies:',
        '  Failed to clone repository https://github.com/a/b.git:',
      ],
    },
  ],
  xcode_too_old: [
    {
      lines: [
        '/tmp/A.swift:1:8: error: module compiled with Swift 5.9 cannot be imported by the Swift 5.8 compiler: /tmp/B.swiftmodule',
      ],
    },
    { lines: ['error: React Native requires XCode >= 16.1. Found 15.4.'] },
  ],
  deployment_target: [
    {
      lines: [
        "/tmp/A.swift:3:8: error: compiling for iOS 13.0, but module 'ExpoModulesCore' has a minimum deployment target of iOS 15.1: /tmp/E.swiftmodule",
      ],
      says: 'ExpoModulesCore needs iOS 15.1',
    },
  ],
  sentry_not_configured: [
    {
      lines: [
        'error: An organization ID or slug is required (provide with --org)',
        'Add --log-level=[info|debug] or export SENTRY_LOG_LEVEL=[info|debug] to see more output.',
        'Command PhaseScriptExecution failed with a nonzero exit code',
      ],
    },
  ],
  script_sandbox: [
    {
      lines: [
        'error: Sandbox: rsync(55413) deny(1) file-write-create /tmp/A.app/Frameworks/hermes.framework',
        'Command PhaseScriptExecution failed with a nonzero exit code',
      ],
      says: 'hermes.framework',
    },
  ],
  multiple_commands: [
    { lines: ["error: Multiple commands produce '/tmp/A.app/PrivacyInfo.xcprivacy'"], says: 'PrivacyInfo.xcprivacy' },
  ],
  header_missing: [
    {
      lines: [
        '[RUN_FASTLANE]',
        '❌  (node_modules/react-native/ReactCommon/yoga/yoga/algorithm/PixelGrid.cpp:10:10)',
        '> 10 | #include <yoga/algorithm/PixelGrid.h>',
        "     |          ^ 'yoga/algorithm/PixelGrid.h' file not found",
      ],
      says: 'yoga/algorithm/PixelGrid.h',
    },
    {
      lines: ["/tmp/ios/AppDelegate.h:1:9: fatal error: 'Expo/Expo.h' file not found", '** ARCHIVE FAILED **'],
      says: 'Expo/Expo.h',
    },
  ],
  swift_module_missing: [{ lines: ["/tmp/ios/AppDelegate.swift:1:8: error: no such module 'Expo'"], says: 'Expo' }],
  undefined_symbols: [
    {
      lines: [
        'Undefined symbols for architecture arm64:',
        '  "_OBJC_CLASS_$_RCTView", referenced from:',
        'ld: symbol(s) not found for architecture arm64',
      ],
    },
    { lines: ['[RUN_FASTLANE] ❌  Undefined symbols for architecture x86_64', '┌─ Symbol: _groth16_prover'] },
  ],
  library_missing: [
    {
      lines: [
        'ld: library not found for -lDoubleConversion',
        'clang: error: linker command failed with exit code 1 (use -v to see invocation)',
      ],
      says: 'DoubleConversion',
    },
    { lines: ["ld: framework 'Pods_A' not found"], says: 'Pods_A' },
    { lines: ['ld: framework not found ExpoModulesCore'], says: 'ExpoModulesCore' },
  ],
  duplicate_symbols: [
    { lines: ['ld: 12 duplicate symbols for architecture arm64'] },
    { lines: ['ld: 3 duplicate symbols'] },
  ],
  simulator_timeout: [
    {
      lines: [
        'iPhoneSimulator: Timed out waiting 120 seconds for simulator to boot, current state is 1.',
        'Testing failed:',
      ],
    },
  ],
  test_runner_exited: [
    {
      lines: [
        'Testing failed:',
        '\tTest target ios-xcode-8.0Tests encountered an error (Early unexpected exit, operation never finished bootstrapping - no restart will be attempted)',
        '** TEST FAILED **',
      ],
    },
  ],
  version_already_used: [
    {
      lines: [
        "[!] Error uploading ipa file: The bundle version must be higher than the previously uploaded version: '42'.",
      ],
    },
    {
      lines: ["ERROR ITMS-90189: \"Redundant Binary Upload. You've already uploaded a build with build number '42'\""],
    },
  ],
  compile_error: [
    {
      lines: [
        'e: file:///src/android/wick/Flame.kt:64:33 Argument type mismatch',
        '> Task :wick:compileReleaseKotlin FAILED',
      ],
      says: '/src/android/wick/Flame.kt, line 64. Argument type mismatch',
    },
    {
      lines: ['/src/android/wick/Flame.java:42: error: cannot find symbol'],
      says: 'Flame.java, line 42. cannot find symbol',
    },
    { lines: ['C/C++: /src/wick/flame.cpp:12:3: error: unknown type name'], says: 'flame.cpp, line 12.' },
    {
      lines: [
        "/Users/admin/build/ios/A/AppDelegate.swift:14:5: error: cannot find 'foo' in scope",
        '** ARCHIVE FAILED **',
      ],
      says: "AppDelegate.swift, line 14. cannot find 'foo' in scope",
    },
    {
      lines: [
        '[RUN_FASTLANE]',
        '❌  (ios/A/AppDelegate.mm:10:10)',
        '',
        '   8 | - (BOOL)application',
        '> 10 |   [self foo];',
        "     |         ^ no visible @interface for 'AppDelegate' declares the selector 'foo'",
      ],
      says: 'ios/A/AppDelegate.mm, line 10.',
    },
  ],
  tests_failed: [{ lines: ['Failing tests:', '\t-[ATests testB]', '** TEST FAILED **'] }],
  script_phase_failed: [
    { lines: ['Command PhaseScriptExecution failed with a nonzero exit code', '** BUILD FAILED **'] },
  ],
  too_many_open_files: [
    {
      lines: [
        'Error: EMFILE: too many open files, watch',
        '    at FSEvent.FSWatcher._handle.onchange (node:internal/fs/watchers:204:21)',
        'Command PhaseScriptExecution failed with a nonzero exit code',
      ],
    },
  ],
  port_in_use: [{ lines: ['Error: listen EADDRINUSE: address already in use :::8081'], says: '8081' }],
  ruby_gems_clash: [
    {
      lines: [
        "/gems/activesupport-7.0.8/lib/active_support/logger_thread_safe_level.rb:12:in `<module:LoggerThreadSafeLevel>': uninitialized constant ActiveSupport::LoggerThreadSafeLevel::Logger (NameError)",
      ],
      says: 'LoggerThreadSafeLevel',
    },
    {
      lines: [
        'You have already activated json 2.9.1, but your Gemfile requires json 2.7.2. Prepending `bundle exec` to your command may solve this. (Gem::LoadError)',
      ],
      says: 'json 2.9.1',
    },
  ],
  package_program_missing: [
    { lines: ['> app@1.0.0 build', '> expo export', '', 'sh: expo: command not found'], says: 'expo' },
    { lines: ['npm error code 127', 'sh: patch-package: command not found'], says: 'patch-package' },
  ],
  tool_missing: [
    { lines: ['bash: line 1: yarn: command not found'], says: 'yarn' },
    { lines: ['zsh:1: command not found: watchman'], says: 'watchman' },
    { lines: ['env: node: No such file or directory'], says: 'node' },
    {
      lines: ['Error: spawn gradle ENOENT', '    at ChildProcess._handle.onexit (node:internal/child_process:286:19)'],
      says: 'gradle',
    },
    {
      lines: ['xcrun: error: unable to find utility "notarytool", not a developer tool or in PATH'],
      says: 'notarytool',
    },
  ],
  corepack_keys: [{ lines: ['Error: Cannot find matching keyid: {"signatures":[],"keys":[]}'] }],
  node_of_another_mac: [
    {
      lines: [
        '/DD/Script-AA.sh: line 9: /Users/keeper/.nvm/versions/node/v20.1.0/bin/node: No such file or directory',
        'Command PhaseScriptExecution failed with a nonzero exit code',
      ],
      says: '/Users/keeper/.nvm/versions/node/v20.1.0/bin/node',
    },
    {
      lines: [
        "❌  Script '[CP-User] Generate Specs' failed",
        '   └─Pods/FBReactNativeSpec',
        'No such file or directory: /opt/homebrew/Cellar/node/20.1.0/bin/node',
      ],
      says: 'Cellar',
    },
  ],
  source_extended_attributes: [
    {
      lines: [
        '/DD/Lantern.app/Frameworks/Wick.framework: resource fork, Finder information, or similar detritus not allowed',
        'Command CodeSign failed with a nonzero exit code',
      ],
    },
  ],
  source_apple_double: [
    {
      lines: ['/src/ios/Lantern/._AppDelegate.swift:1:1: error: source file is not valid UTF-8'],
      says: '._AppDelegate.swift',
    },
  ],
  cmake_cache_of_another_machine: [
    {
      lines: [
        'CMake Error: The current CMakeCache.txt directory /src/android/app/.cxx/CMakeCache.txt is different than the directory /home/keeper/src/android/app/.cxx where CMakeCache.txt was created.',
      ],
    },
  ],
  android_sdk_of_another_machine: [
    { lines: ["> The SDK directory '/Users/keeper/Library/Android/sdk' does not exist."], says: '/Users/keeper' },
  ],
  packages_of_another_machine: [
    { lines: ["You installed esbuild for another platform than the one you're currently using."] },
    {
      lines: ["Error: Cannot find module '@rollup/rollup-darwin-arm64'", 'Require stack:'],
      says: 'rollup-darwin-arm64',
    },
    { lines: ["Error: Cannot find module '../lightningcss.darwin-arm64.node'"], says: 'lightningcss.darwin-arm64' },
    { lines: ['/src/node_modules/.bin/sentry-cli: cannot execute binary file'] },
  ],
  line_endings: [
    { lines: ['env: node\\r: No such file or directory'] },
    { lines: ['bash: ./build.sh: /bin/bash^M: bad interpreter: No such file or directory'] },
  ],
  not_executable: [{ lines: ['bash: line 1: ./gradlew: Permission denied'], says: './gradlew' }],
  match_passphrase: [
    { lines: ["[!] Invalid password passed via 'MATCH_PASSWORD'"] },
    { lines: ["[12:14:08]: Couldn't decrypt the repo, please make sure you enter the right password!"] },
  ],
  pods_spec_missing: [
    {
      lines: [
        '[!] CocoaPods could not find compatible versions for pod "Wick/Core":',
        '  In Podfile:',
        '    wick-react (from `../node_modules/wick-react`) was resolved to 1.0.0, which depends on',
        '      Wick/Core (= 3.4.0)',
        'None of your spec sources contain a spec satisfying the dependency: `Wick/Core (= 3.4.0)`.',
      ],
      says: 'Wick/Core (= 3.4.0)',
    },
  ],
  pods_checksum: [
    {
      lines: ['[!] Error installing wick', 'Verification checksum was incorrect, expected 00aa, got 11bb'],
      says: 'wick',
    },
  ],
  codegen_failed: [
    {
      lines: [
        'Error: Unknown prop type for "brightness": "Candela"',
        '    at getTypeAnnotation (/src/node_modules/@react-native/codegen/lib/parsers/a.js:410:13)',
        '[!] Invalid `Podfile` file: [!] /usr/local/bin/node ./../node_modules/react-native/scripts/generate-codegen-artifacts.js -p /src/ios/.. -o /src/ios -t ios',
      ],
      says: 'brightness',
    },
  ],
  podfile_command_failed: [
    {
      lines: [
        'Error: Cannot parse app.config.js: API_URL is not set',
        '[!] Invalid `Podfile` file: [!] /usr/local/bin/node --no-warnings --eval require',
      ],
      says: 'API_URL is not set',
    },
  ],
  pods_not_installed: [
    {
      lines: [
        "/src/ios/Lantern.xcodeproj:1:1: error: Unable to open base configuration reference file '/src/ios/Pods/Target Support Files/Pods-Lantern/Pods-Lantern.release.xcconfig'. (in target 'Lantern' from project 'Lantern')",
      ],
    },
    {
      lines: [
        'error: Codegen did not run properly in your project. Please reinstall cocoapods with `bundle exec pod install`.',
      ],
    },
    {
      lines: [
        "error: Build input file cannot be found: '/src/ios/build/generated/ios/WickSpec/WickSpec-generated.mm'.",
      ],
    },
  ],
  eas_not_authorised: [
    {
      lines: [
        "You don't have the required permissions to perform this operation.",
        'Original error message: Entity not authorized: AppEntity[00000000] (viewer = RobotViewerContext[11111111])',
      ],
    },
  ],
  kotlin_version: [
    {
      lines: [
        'e: file:///home/a/.gradle/caches/wick-2.0.jar!/META-INF/wick.kotlin_moduleModule was compiled with an incompatible version of Kotlin. The binary version of its metadata is 2.1.0, expected version is 1.9.0.',
        "Execution failed for task ':app:compileReleaseKotlin'.",
      ],
      says: 'Kotlin 2.1.0',
    },
  ],
  manifest_merger: [
    {
      lines: [
        '/src/android/app/src/main/AndroidManifest.xml:19:93-116 Error:',
        '\tAttribute meta-data#wick.color@value value=(default) from AndroidManifest.xml:19:93-116',
        '\tis also present at [:wick] AndroidManifest.xml:37:13-29 value=().',
        "Execution failed for task ':app:processReleaseMainManifest'.",
        '> Manifest merger failed with multiple errors, see logs',
      ],
      says: 'wick.color',
    },
    {
      lines: [
        '> Manifest merger failed : uses-sdk:minSdkVersion 21 cannot be smaller than version 24 declared in library [:wick]',
      ],
      says: 'minSdkVersion 21',
    },
  ],
  duplicate_class: [
    {
      lines: [
        "Execution failed for task ':app:checkReleaseDuplicateClasses'.",
        '> A failure occurred while executing com.android.build.gradle.internal.tasks.CheckDuplicatesRunnable',
        '   > Duplicate class org.wick.Flame found in modules wick-1.0.aar -> wick-1.0-runtime (org.wick:wick:1.0) and flame-2.0.aar -> flame-2.0-runtime (org.wick:flame:2.0)',
      ],
      says: 'org.wick.Flame: wick-1.0.aar and flame-2.0.aar',
    },
  ],
  android_resource_missing: [
    {
      lines: [
        'ERROR: /src/android/app/src/main/res/drawable/a.xml:4: AAPT: error: resource color/wick (aka org.example.lantern:color/wick) not found.',
      ],
      says: 'resource color/wick',
    },
  ],
  ndk_missing: [
    {
      lines: ['> [CXX1101] NDK at /sdk/ndk/27.1.12297006 did not have a source.properties file'],
      says: '27.1.12297006',
    },
  ],
  cmake_error: [
    {
      lines: [
        'C/C++: CMake Error at CMakeLists.txt:13 (add_library):',
        'C/C++:   Target "wick" links to target "ReactAndroid::reactnativejni" but the target was not found.',
        "Execution failed for task ':wick:configureCMakeRelease[arm64-v8a]'.",
        '> [CXX1429] error when building with cmake using /src/CMakeLists.txt',
      ],
      says: 'ReactAndroid::reactnativejni',
    },
  ],
  ninja_error: [
    {
      lines: [
        "C/C++: ninja: error: manifest 'build.ninja' still dirty after 100 tries",
        "Execution failed for task ':wick:buildCMakeRelease[arm64-v8a]'.",
      ],
      says: 'still dirty',
    },
  ],
  question_asked: [
    {
      lines: [
        'Input is required, but stdin is not readable. Failed to display prompt: Path to Google Service Account file:',
        '    Error: build command failed.',
      ],
      says: 'Path to Google Service Account file',
    },
    {
      lines: [
        "CommandError: Input is required, but 'npx expo' is in non-interactive mode.",
        'Required input:',
        '> Use port 8082 instead?',
      ],
      says: 'Use port 8082 instead?',
    },
    {
      lines: [
        '[12:00:00]: Do you want to overwrite the profile?',
        '[!] Could not retrieve response as fastlane runs in non-interactive mode',
      ],
      says: 'overwrite the profile?',
    },
    { lines: ['npm error npx canceled due to missing packages and no YES option: ["wick@1.0.0"]'], says: 'wick@1.0.0' },
    { lines: ['sudo: a terminal is required to read the password; either use the -S option'], says: 'terminal' },
    {
      lines: ['? Which account shall own it?', 'Error: User force closed the prompt with 13 null'],
      says: 'Which account',
    },
    { lines: ['Error: Build ID must be provided in non-interactive mode'], says: 'Build ID must be provided' },
  ],
  swift_macro_not_trusted: [
    {
      lines: ['error: Macro "WickMacros" from package "wick" must be enabled before it can be used.'],
      says: 'WickMacros',
    },
  ],
  build_database_locked: [
    {
      lines: [
        'error: unable to attach DB: error: accessing build database "/DD/XCBuildData/build.db": database is locked Possibly there are two concurrent builds running in the same filesystem location.',
      ],
    },
  ],
  build_input_missing: [
    {
      lines: ["error: Build input file cannot be found: '/src/ios/Lantern/GoogleService-Info.plist'. Did you forget"],
      says: 'GoogleService-Info.plist',
    },
  ],
  pods_prepare_command: [
    {
      lines: [
        'Installing WickDependencies (0.81.0)',
        '[!] /bin/bash -c ',
        'set -e',
        'cp -R "$XCFRAMEWORK_PATH/.." framework/packages/wick/',
        '',
        'cp: framework/packages/wick/..: File exists',
      ],
      says: 'WickDependencies failed: cp: framework/packages/wick/..: File exists',
    },
  ],
  gradle_task_failed: [
    {
      lines: [
        '* What went wrong:',
        "Execution failed for task ':wick:packageRelease'.",
        '> A failure occurred while executing com.android.build.gradle.tasks.PackageRunnable',
        '   > The archive has no entries',
        '',
        '* Try:',
        '> Run with --stacktrace option to get the stack trace.',
      ],
      says: ':wick:packageRelease failed: The archive has no entries',
    },
  ],
  gradle_failed: [
    {
      lines: [
        'FAILURE: Build failed with an exception.',
        '* What went wrong:',
        "A problem occurred evaluating project ':app'.",
        "> Could not read script '/src/node_modules/wick/wick.gradle' as it does not exist.",
        '* Try:',
        '> Run with --stacktrace option to get the stack trace.',
      ],
      says: "project ':app'. Could not read script",
    },
  ],
  xcodebuild_interrupted: [{ lines: ['** BUILD INTERRUPTED **'] }],
  config_plugin_failed: [
    {
      lines: [
        "[PREBUILD] TypeError: [ios.infoPlist]: withIosInfoPlistBaseMod: Cannot read properties of null (reading 'key')",
        'Error: npx expo prebuild exited with non-zero code: 1',
      ],
      says: 'ios.infoPlist of the native project: Cannot read properties of null',
    },
  ],
  pods_path_missing: [
    {
      lines: ['[!] No podspec exists at path `/Users/a/.cocoapods/repos/b/libwebp.podspec.json`.'],
      says: 'libwebp.podspec.json',
    },
    { lines: ['[!] No podspec found for `Wick` in `../node_modules/wick`'], says: '../node_modules/wick' },
  ],
  // Tartbeat's own sentences, printed by the scripts in vm-image/guest/.
  private_key_unreadable: [
    {
      lines: [
        '[tartbeat] Private access: the secret GIT_SSH_KEY is not a private SSH key, or it has a passphrase. Make one without: `ssh-keygen -t ed25519 -N "" -f key`, and store the file `key`.',
      ],
    },
  ],
  tool_version_not_installed: [
    {
      lines: [
        '[tartbeat] Installing pnpm 99.0.0; the image has none.',
        'npm error code ETARGET',
        'npm error notarget No matching version found for pnpm@99.0.0.',
        'npm error notarget In most cases you or one of your dependencies are requesting',
        "npm error notarget a package version that doesn't exist.",
        '[tartbeat] pnpm 99.0.0 could not be installed. The lines above say why. Check that this version exists and that the VM reaches the address.',
      ],
      says: 'pnpm 99.0.0 could not be installed: No matching version found for pnpm@99.0.0',
    },
    {
      lines: [
        '[tartbeat] Installing cocoapods 1.99.0; the image has 1.17.0.',
        "ERROR:  Could not find a valid gem 'cocoapods' (= 1.99.0) in any repository",
        '[tartbeat] cocoapods 1.99.0 could not be installed. The lines above say why. Check that this version exists and that the VM reaches the address.',
      ],
      says: 'Could not find a valid gem',
    },
  ],
  tool_version_wrong: [
    {
      lines: ['[tartbeat] node 22.99 was installed, but `node --version` says 22.13.0.'],
      says: 'node 22.99 was installed, but the program says that it is 22.13.0.',
    },
  ],
  package_manager_checksum: [
    {
      lines: [
        '[tartbeat] pnpm 10.1.0 is not the one that `packageManager` in package.json names. Its sha512 is 0a, not 0b.',
      ],
      says: 'pnpm 10.1.0',
    },
  ],
  tool_cannot_be_installed: [{ lines: ['[tartbeat] Tartbeat cannot install ndk.'], says: 'ndk' }],
  engine_tool_missing: [
    {
      lines: [
        '[tartbeat] A tool is missing: eas-cli is not in this image. Make the image again with `expo-worker base-image --force`.',
      ],
      says: 'in the VM: eas-cli is not in this image.',
    },
  ],
  engine_job_refused: [
    {
      lines: [
        'Currently using eas-cli-local-build-plugin@24.7.0.',
        'Job object has incorrect format, update to latest versions of eas-cli and eas-cli-local-build-plugin to make sure you are using compatible packages.',
        '"appId" must be a string',
        '[tartbeat] The engine refused the job: "appId" must be a string',
      ],
      says: 'made of the profile: "appId" must be a string.',
    },
  ],
  engine_folder_in_use: [
    { lines: ['Workingdir is not empty.', 'Error: Workingdir is not empty.'] },
    {
      lines: [
        "[tartbeat] The engine's working folder /Users/admin/.tartbeat/expo/work has files of an earlier build that cannot be deleted. Build in a new VM.",
      ],
      says: '/Users/admin/.tartbeat/expo/work',
    },
  ],
  source_not_packed: [
    { lines: ['[tartbeat] The source could not be packed for the engine. Is the disk of the VM full?'] },
  ],
  expo_environment_missing: [
    {
      lines: [
        'Failed to pull env variables for environment production from EAS servers',
        '[GraphQL] Internal server error',
        '[tartbeat] Expo did not send the variables of the environment, so the build ends here. The app would lack them. The lines above have the reason.',
        '    Error: build command failed.',
      ],
      says: '"production"',
    },
  ],
  expo_not_installed: [
    {
      lines: [
        '[tartbeat] The package `expo` is not installed in apps/mobile, so the app config cannot be read. Add `expo` to the dependencies of its package.json.',
      ],
      says: 'apps/mobile',
    },
  ],
  app_id_missing: [
    {
      lines: [
        '[tartbeat] The app config in the root of the source has no ios.bundleIdentifier. Add it, because each app has its own build numbers.',
      ],
      says: 'in the root of the source has no ios.bundleIdentifier',
    },
  ],
  app_name_unreadable: [
    {
      lines: [
        '[tartbeat] The name of the app could not be read from the app config in apps/mobile, so its certificate cannot be assigned. Run `npx expo config` there to see why.',
      ],
      says: 'apps/mobile',
    },
  ],
  build_number_late: [
    {
      lines: [
        '[tartbeat] The build waits for its number from the controller.',
        '[tartbeat] No build number came within 5 minutes, so the build ends here. The agent or the controller could not be reached in that time. Submit the build again.',
      ],
      says: '5 minutes',
    },
  ],
  dependencies_not_installed: [
    {
      lines: [
        'the moon is in the wrong house',
        '[tartbeat] The dependencies could not be installed: `npm ci --include=dev` ended with exit code 7. The lines above have the reason.',
      ],
      says: '"npm ci --include=dev" ended with exit code 7',
    },
  ],
  app_config_unreadable: [
    {
      lines: [
        "TypeError: Cannot read properties of null (reading 'split')",
        '    at module.exports (/src/app.config.js:3:41)',
        '[tartbeat] The app config in the root of the source could not be read: `expo config` ended with exit code 1. Run `npx expo config` there to see the same.',
      ],
      says: "could not be read: TypeError: Cannot read properties of null (reading 'split').",
    },
  ],
  engine_did_not_start: [
    {
      lines: [
        'Error: a thing that nobody knows',
        '    at main (/opt/homebrew/lib/node_modules/eas-cli-local-build-plugin/dist/main.js:14:9)',
        '[tartbeat] The engine ended before its first phase. The lines above say why.',
      ],
      says: 'a thing that nobody knows',
    },
  ],
  // Expo's local build engine.
  engine_aborted: [
    { lines: ['[RUN_FASTLANE] Gymfile created', '[ABORT] Received termination signal.'] },
    { lines: ['[RUN_FASTLANE] Gymfile created', '[tartbeat] The engine was stopped.'] },
  ],
  engine_job_malformed: [
    {
      lines: [
        'Currently using eas-cli-local-build-plugin@24.7.0.',
        'Job object has incorrect format, update to latest versions of eas-cli and eas-cli-local-build-plugin to make sure you are using compatible packages.',
        '"appId" must be a string',
        'ValidationError: "appId" must be a string',
      ],
      says: 'its job: "appId" must be a string.',
    },
  ],
  engine_version_missing: [
    {
      lines: [
        'npm error code ETARGET',
        'npm error notarget No matching version found for eas-cli-local-build-plugin@24.8.0.',
        'npx -y eas-cli-local-build-plugin@24.8.0 exited with non-zero code: 1',
      ],
      says: 'eas-cli-local-build-plugin@24.8.0',
    },
  ],
  engine_wrong_system: [
    { lines: ['Unsupported platform, macOS is required to build apps for iOS'] },
    { lines: ['iOS builds can only be run on macOS.', 'Error: iOS builds can only be run on macOS.'] },
  ],
  app_folder_missing: [
    {
      lines: ['Error: package.json does not exist in /Users/admin/.tartbeat/expo/work/build/apps/mobile'],
      says: 'in the folder of the app: apps/mobile.',
    },
  ],
  source_not_unpacked: [
    {
      lines: [
        '[PREPARE_PROJECT] gzip: stdin: not in gzip format',
        '[PREPARE_PROJECT] ',
        'Error: tar -C /a/work/build --strip-components 1 -zxf /a/work/project.tar.gz exited with non-zero code: 2',
      ],
      says: 'not in gzip format',
    },
  ],
  certificate_password_engine: [
    {
      lines: [
        '[PREPARE_CREDENTIALS] ',
        'Error: Provided password for the distribution certificate is probably invalid',
      ],
    },
  ],
  certificate_not_imported: [
    {
      lines: [
        'Error: fastlane run import_certificate certificate_path:/a.p12 certificate_password:*** keychain_path:/a.keychain keychain_password:b exited with non-zero code: 1',
      ],
    },
  ],
  certificate_mismatch: [
    {
      lines: [
        "[PREPARE_CREDENTIALS] Error: Provisioning profile and distribution certificate don't match.",
        "Profile's certificate fingerprints = [0A], distribution certificate fingerprint = 0B",
      ],
    },
  ],
  credentials_required: [{ lines: ['[PREPARE_CREDENTIALS] ', 'Error: credentials are required for an iOS build'] }],
  certificate_not_given: [
    {
      lines: [
        '[PREPARE_CREDENTIALS] Creating keychain - /tmp/eas-build-0104ba25.keychain',
        '[PREPARE_CREDENTIALS] ',
        "TypeError: Cannot read properties of undefined (reading 'data')",
      ],
    },
  ],
  target_missing: [{ lines: ["Error: Could not find target 'Wrong' in project.pbxproj"], says: '"Wrong"' }],
  scheme_unclear: [{ lines: ['AssertionError [ERR_ASSERTION]: Ejected project should have exactly one scheme'] }],
  artifact_pattern: [
    {
      lines: [
        '[UPLOAD_APPLICATION_ARCHIVE] ',
        'Error: There are no files matching pattern "ios/build/Lantern-*.ipa"',
        'FindArtifactsError: There are no files matching pattern "ios/build/Lantern-*.ipa"',
      ],
      says: 'ios/build/Lantern-*.ipa',
    },
  ],
  eas_project_id_differs: [
    {
      lines: [
        '[READ_APP_CONFIG] Error: The value of the "extra.eas.projectId" field (1111) in the app config does not match the current project id (2222). Learn more: https://expo.fyi/eas-config-mismatch.',
      ],
      says: '1111',
    },
  ],
  engine_silent: [
    {
      lines: ['InstallPodsTimeoutError: "Install pods" phase was inactive for over 30 minutes'],
      says: '"Install pods", because it printed nothing for 30 minutes',
    },
  ],
  custom_config_wrong: [
    {
      lines: [
        '[PARSE_CUSTOM_WORKFLOW_CONFIG] Failed to parse the custom build config file.',
        '[PARSE_CUSTOM_WORKFLOW_CONFIG] ',
        'YAMLParseError: Nested mappings are not allowed in compact mappings at line 8, column 18:',
      ],
      says: 'line 8, column 18',
    },
  ],
  hook_failed: [
    {
      lines: ['Error: npm run eas-build-pre-install exited with non-zero code: 3'],
      says: '"eas-build-pre-install" of package.json ended with exit code 3',
    },
  ],
  xcode_failed: [
    {
      lines: [
        '[RUN_FASTLANE] Error: The "Run fastlane" step failed because of an error in the Xcode build process. We automatically detected following errors in your Xcode build logs:',
        "- cannot find 'Lantern' in scope",
        'Refer to "Xcode Logs" below for additional, more detailed logs.',
      ],
      says: "cannot find 'Lantern' in scope",
    },
  ],
  // Errors that the engine looks for in the output of tools.
  yarn_started_twice: [
    {
      lines: [
        '[2/4] Fetching packages...',
        'error https://registry.yarnpkg.com/jest-util/-/jest-util-26.6.2.tgz: Extracting tar content of undefined failed, the file appears to be corrupt: "ENOENT: no such file or directory, chmod"',
      ],
    },
  ],
  registry_broken: [
    {
      lines: [
        'error An unexpected error occurred: "https://registry.yarnpkg.com/request/-/request-2.88.2.tgz: Request failed \\"503 Service Unavailable\\"".',
      ],
    },
    { lines: ['npm error code E503', 'npm error 503 Service Unavailable - GET https://registry.npmjs.org/a'] },
  ],
  google_services_broken: [
    {
      lines: ['Error: [ios.infoPlist]: withIosInfoPlistBaseMod: GoogleService-Info.plist is empty'],
      says: 'GoogleService-Info.plist',
    },
    {
      lines: [
        'Error: [ios.xcodeproj]: withIosXcodeprojBaseMod: Path to GoogleService-Info.plist is not defined. Please specify the `expo.ios.googleServicesFile` field in app.json.',
      ],
    },
    {
      lines: ["Execution failed for task ':app:processReleaseGoogleServices'.", '> Malformed root json'],
    },
  ],
  icon_missing: [
    {
      lines: [
        "Error: [android.dangerous]: withAndroidDangerousBaseMod: ENOENT: no such file or directory, open './assets/adaptive-icon.png'",
        '    at Object.openSync (node:fs:585:3)',
        '    at async generateIconAsync (/src/node_modules/@expo/prebuild-config/build/plugins/icons/withAndroidIcons.js:369:11)',
      ],
      says: './assets/adaptive-icon.png',
    },
  ],
  expo_package_missing: [
    {
      lines: [
        "ConfigError: Cannot determine the project's Expo SDK version because the module `expo` is not installed. Install it with `npm install expo` and try again.",
      ],
    },
    {
      lines: [
        'Cannot determine which native SDK version your project uses because the module `expo` is not installed. Please install it with `yarn add expo` and try again.',
      ],
    },
  ],
  podfile_node_env: [
    {
      lines: [
        "[!] Invalid `Podfile` file: 783: unexpected token at 'info Run CLI with --verbose flag for more details.",
        "'.",
      ],
    },
  ],
  android_exported: [
    {
      lines: [
        '/src/android/app/src/main/AndroidManifest.xml:27:9-33:20 Error:',
        '\tandroid:exported needs to be explicitly specified for element <activity#a.B>. Apps targeting Android 12 and higher are required to specify an explicit value for `android:exported` when the corresponding component has an intent filter defined.',
      ],
    },
  ],
  android_png: [
    {
      lines: [
        '   > Android resource compilation failed',
        '     ERROR:/src/res/mipmap-mdpi/ic_launcher.png: AAPT: error: failed to read PNG signature: file does not start with PNG signature.',
      ],
      says: '/src/res/mipmap-mdpi/ic_launcher.png',
    },
  ],
  gradle_bundle: [
    {
      lines: [
        'Error: the moon is in the wrong house',
        "Execution failed for task ':app:createBundleReleaseJsAndAssets'.",
        "> Process 'command 'node'' finished with non-zero exit value 1",
      ],
      says: 'the moon is in the wrong house',
    },
  ],
  icloud_environment: [
    {
      lines: [
        'error: exportArchive: exportOptionsPlist error for key "iCloudContainerEnvironment": expected one of {Development, Production}, but no value was provided',
        '** EXPORT FAILED **',
      ],
    },
  ],
  // eas-cli, recorded (test/samples/eas/).
  eas_project_differs: [
    {
      lines: [
        'Project config: Slug for project identified by "extra.eas.projectId" (tiny) does not match the "slug" field (other). Learn more: https://expo.fyi/eas-project-id',
        '    Error: build command failed.',
      ],
      says: 'slug "other"',
    },
  ],
  eas_cli_version: [
    {
      lines: [
        'You are on eas-cli@24.8.0 which does not satisfy the CLI version constraint defined in eas.json (>= 99.0.0).',
        '    Error: build command failed.',
      ],
      says: '>= 99.0.0',
    },
  ],
  eas_job_too_large: [
    {
      lines: [
        'Build context (for debugging this failed local build):',
        '  Platform: android',
        'spawn E2BIG',
        '    Error: build command failed.',
      ],
    },
  ],
  eas_no_git: [
    {
      lines: [
        "It looks like you haven't initialized the git repository yet.",
        'EAS requires you to use a git repository for your project.',
        "Input is required, but stdin is not readable. Failed to display prompt: Would you like us to run 'git init' in /Users/admin/source for you?",
      ],
    },
  ],
  dev_client_missing: [
    {
      lines: [
        "However, we detected that you don't have expo-dev-client installed for your project.",
        "You'll need to install expo-dev-client manually.",
        '    Error: build command failed.',
      ],
    },
  ],
  expo_unreachable: [
    {
      lines: [
        'request to https://api.expo.dev/graphql failed, reason: getaddrinfo ENOTFOUND api.expo.dev',
        '    Error: GraphQL request failed.',
      ],
      says: 'ENOTFOUND',
    },
  ],
  keychain_not_made: [
    {
      lines: [
        '/tmp/proof: the reason of codesign',
        'keychain: codesign cannot sign with what was imported, for the reason that it gives above',
      ],
      says: 'for the reason that it gives above (/tmp/proof: the reason of codesign).',
    },
    {
      lines: ['keychain: no identity to sign with was imported: export the *.p12 together with its private key'],
      says: 'export the *.p12',
    },
  ],
};
