import type { KnownError } from './known-error.ts';

/** The VM itself ran out of something, or lacks a tool. These cause all other errors, so they are asked first. */
export const MACHINE: readonly KnownError[] = [
  {
    id: 'disk_full',
    pattern: /(?:^|[:(-] ?|\bENOSPC: )no space left on device\b/i,
    sentence: 'The disk of the VM is full.',
    advice: 'Free space in the base image or give it a larger disk, then make a new snapshot of it.',
  },
  {
    id: 'js_out_of_memory',
    pattern: /^FATAL ERROR: .*(?:JavaScript heap out of memory|Allocation failed)/,
    sentence: 'Node.js ran out of memory.',
    advice: 'Set NODE_OPTIONS=--max-old-space-size=4096 in the environment of the build.',
  },
  {
    id: 'java_out_of_memory',
    pattern:
      /java\.lang\.OutOfMemoryError: ([\w -]+)|^> (?:Java heap space|Metaspace)$|Gradle build daemon disappeared/,
    sentence: 'Gradle ran out of memory.',
    advice: 'Raise org.gradle.jvmargs in gradle.properties, or give the VM more memory.',
  },
  {
    id: 'out_of_memory',
    pattern: /(?:^|: )Killed: 9\b|unable to execute command: Killed|^.*: line \d+: +\d+ Killed: 9 /,
    sentence: 'The system killed a process of the build, most often because the VM ran out of memory.',
    advice: 'Give the VM more memory, or build with fewer parallel jobs.',
  },
  {
    id: 'xcode_license',
    pattern: /You have not agreed to the Xcode license agreements|Agreeing to the Xcode\/iOS license requires admin/,
    sentence: 'The licence of Xcode has not been accepted in the base image.',
    advice: 'Run "sudo xcodebuild -license accept" in the base image and make a new snapshot of it.',
  },
  {
    id: 'xcode_not_selected',
    pattern:
      /^xcode-select: (?:error: tool '(?:xcodebuild|actool|altool)' requires Xcode|note: no developer tools were found)/,
    sentence: 'Xcode is not installed in the base image, or only its command line tools are selected.',
    advice: 'Install Xcode in the base image and run "sudo xcode-select -s /Applications/Xcode.app".',
  },
  {
    id: 'gem_bundler_version',
    pattern: /Could not find 'bundler' \(([^)]+)\) required by your/,
    sentence: 'The Gemfile.lock of the project asks for Bundler $1, which is not installed in the VM.',
    advice: 'Install that version in the base image, or run "bundle update --bundler" and commit Gemfile.lock.',
  },
  {
    id: 'gems_missing',
    pattern:
      /^(?:Could not find (\S+) in (?:any of the sources|locally installed gems)|bundler: command not found: (\S+))/,
    sentence: 'Gems of the project are not installed in the VM.',
    advice: 'Run "bundle install" in the build before the command that needs them.',
  },
  {
    id: 'tool_missing_fastlane',
    pattern:
      /Fastlane is not available, make sure it's installed|(?:^|: )(?:command not found: fastlane|fastlane: command not found)/,
    sentence: 'Fastlane is not installed in the VM, or not on its PATH.',
    advice: 'Run provision.sh in the base image again; it installs Fastlane.',
  },
  {
    id: 'tool_missing_cocoapods',
    pattern:
      /CocoaPods is not available, make sure it's installed|(?:^|: )(?:command not found: pod|pod: command not found)$/,
    sentence: 'CocoaPods is not installed in the VM, or not on its PATH.',
    advice: 'Run provision.sh in the base image again; it installs CocoaPods.',
  },
];
