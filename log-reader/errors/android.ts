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
      /Failed to read key (\S+) from store|Keystore file '([^']+)' not found|(?:^|: )Keystore was tampered with, or password was incorrect/,
    sentence: 'The keystore could not be used: the file, the alias or a password is wrong.',
    advice: 'Check the four values of the keystore in the credentials.',
  },
  {
    id: 'gradle_dependency',
    pattern:
      /^> Could not resolve (?:all (?:files|artifacts|dependencies) for configuration '([^']+)'|([\w.-]+:[\w.-]+:\S+?)\.?$)/,
    sentence: 'Gradle could not resolve $1$2.',
    advice: 'Check the version and the repositories; if it was a matter of network, build again.',
  },
];
