import type { KnownError } from './known-error.ts';

export const ANDROID: readonly KnownError[] = [
  {
    id: 'android_sdk_missing',
    pattern: /^(?:> )?SDK location not found\. Define/,
    sentence: 'Gradle does not find the Android SDK.',
    advice: 'Install it in the base image and set ANDROID_HOME.',
  },
  {
    id: 'android_licenses',
    pattern: /Failed to install the following Android SDK packages as some licen[cs]es have not been accepted/,
    sentence: 'Licences of the Android SDK have not been accepted.',
    advice: 'Run "yes | sdkmanager --licenses" in the base image and make a new snapshot of it.',
  },
  {
    id: 'java_version',
    pattern:
      /Unsupported class file major version (\d+)|Android Gradle plugin requires Java (\d+) to run|^ERROR: JAVA_HOME is (?:not set|set to an invalid directory)/,
    sentence: 'The Java version of the VM does not fit Gradle, or there is none.',
    advice: 'Install the Java version that the project needs and set JAVA_HOME.',
  },
  {
    id: 'keystore',
    pattern:
      /Failed to read key (\S+) from store (?:.*?Invalid keystore format)?|Keystore file '([^']+)' not found|(?:^|: )Keystore was tampered with, or password was incorrect/,
    sentence: 'The keystore could not be used: the file, the alias or a password is wrong.',
    advice: 'Check the four values of the keystore in the credentials.',
  },
  {
    id: 'gradle_dependency',
    pattern:
      /^> Could not resolve (?:all (?:files|artifacts|dependencies) for configuration '([^']+)'|([\w.-]+:[\w.-]+:\S+?)\.?$)/,
    near: [{ where: 'below', within: 6, pattern: /^> (?<reason>Could not (?:find|GET|HEAD|download) .{1,200})$/ }],
    sentence: 'Gradle could not resolve $1$2[: $<reason>].',
    advice: 'Check the version and the repositories; if it was a matter of network, build again.',
  },
  {
    id: 'kotlin_version',
    pattern:
      /^e: .*Module was compiled with an incompatible version of Kotlin\. The binary version of its metadata is ([\d.]+), expected version is ([\d.]+)/,
    sentence: 'A library was compiled with Kotlin $1, and the project uses $2.',
    advice: 'Raise the Kotlin version of the project, or take an older version of the library.',
  },
  {
    id: 'android_exported',
    pattern: /required to specify an explicit value for `?android:exported`?/,
    near: [
      { where: 'above', within: 2, pattern: /element <(?<element>[^>]{1,160})>/ },
      { where: 'below', within: 2, pattern: /element <(?<element>[^>]{1,160})>/ },
    ],
    sentence: 'An element of AndroidManifest.xml lacks "android:exported"[: $<element>].',
    advice: 'Set it, or update the library that brings the element.',
  },
  {
    id: 'android_png',
    pattern: /(?:ERROR: ?)?(\S+\.png): AAPT: error: failed to read PNG signature/,
    sentence: 'The file $1 is not a PNG image.',
    advice: 'Save the image anew as PNG: a JPEG or WebP with the ending .png does not do.',
  },
  {
    id: 'gradle_bundle',
    pattern: /^Execution failed for task ':app:(?:bundle|createBundle)\w+JsAndAssets'/,
    near: [{ where: 'above', within: 40, pattern: /^(?<reason>(?:\w*Error|error): .{1,200})$/ }],
    sentence: 'The JavaScript could not be bundled[: $<reason>].',
    advice: 'What Metro says stands above it in the log. Variables that the app reads must be set in the build too.',
  },
  {
    id: 'manifest_merger',
    pattern: /^> Manifest merger failed(?: : (.{1,200})| with multiple errors)/,
    near: [
      {
        where: 'above',
        within: 300,
        pattern: /^(?<reason>(?:Attribute|uses-sdk:|Element) .{1,200})$/,
        takes: 'furthest',
      },
    ],
    sentence: 'The Android manifests of the app and its packages contradict each other[: $<1|reason>].',
    advice: 'Change the value in the app config or manifest, or mark it with tools:replace.',
  },
  {
    id: 'duplicate_class',
    pattern: /^> Duplicate class (\S+) found in modules (\S+)(?: ->.*?)? and (\S+)/,
    sentence: 'Two libraries bring the class $1: $2 and $3.',
    advice: 'Bring their versions in line, or exclude one of them.',
  },
  {
    id: 'android_resource_missing',
    pattern: /\berror: (resource \S+) \(aka \S+\) not found/,
    sentence: 'An Android resource is missing: $1.',
    advice: 'Check the package or config plugin that should bring it.',
  },
  {
    id: 'ndk_missing',
    pattern:
      /(?:NDK at (\S+) did not have a source\.properties file|No version of NDK matched the requested version (\S+))/,
    sentence: 'The Android NDK of the VM is broken or in another version[: $1][: $2].',
    advice: 'Install the version that the project asks for in the base image with sdkmanager.',
  },
  {
    id: 'cmake_error',
    pattern: /^CMake Error(?: at (\S+):(\d+))?(?: \(\w+\))?:(.{0,200})$/,
    near: [{ where: 'below', within: 3, pattern: /^(?<reason>\S.{1,200})$/ }],
    sentence: 'CMake failed[ in $1, line $2][: $<3|reason>].',
    advice: 'Check the package that it is in: its version may not fit this React Native, or its codegen did not run.',
  },
  {
    id: 'ninja_error',
    pattern: /^ninja: error: (.{1,200})$/,
    sentence: 'Native code for Android could not be built: $1.',
    advice: 'Remove .cxx folders from the source, and check the package that it names.',
  },
];
