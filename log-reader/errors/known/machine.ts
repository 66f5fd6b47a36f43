import type { KnownError } from './known-error.ts';

/** These programs come with the packages of the project and not with the image. */
const PACKAGE_PROGRAMS =
  'expo|react-native|expo-modules|tsc|patch-package|husky|jest|eslint|metro|babel|ts-node|tsx|turbo|lerna|nx|rimraf|cross-env|bob|run-s|run-p|npm-run-all';
const NOT_FOUND = (name: string) =>
  `(?:^|: )(?:command not found: ${name}$|${name}: (?:command )?not found$)|^(?:\\w*Error: |npm (?:error|ERR!) )?spawn (?:\\S*/)?${name} ENOENT`;

/**
 * The VM itself ran out of something or lacks a tool. These errors are tried first, because they cause
 * others.
 */
export const MACHINE: readonly KnownError[] = [
  {
    id: 'disk_full',
    pattern: /(?:^|[:(>-] ?|\bENOSPC: )no space left on device\b/i,
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
    id: 'too_many_open_files',
    pattern: /(?:^|: )EMFILE: too many open files|(?:^|: )Too many open files(?: in system)?\.?$/,
    atEnd: true,
    sentence: 'A program opened more files at once than the VM allows.',
    advice: 'Install watchman in the base image, or raise the limit there ("ulimit -n", "launchctl limit maxfiles").',
  },
  {
    id: 'port_in_use',
    pattern: /(?:^|: |error )listen EADDRINUSE: address already in use \S*:(\d+)/,
    atEnd: true,
    sentence: 'Port $1 is in use already.',
    advice:
      'End the program that the build has started on it, often a Metro bundler, or give the second one another port.',
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
      /^xcode-select: error: tool '(?:xcodebuild|actool|altool)' requires Xcode|^xcrun: error: (?:invalid active developer path|unable to find utility "(?:xcodebuild|simctl|altool|actool)")/,
    atEnd: true,
    sentence: 'Xcode is not installed in the base image, or only its command line tools are selected.',
    advice:
      'Install Xcode in the base image and run "sudo xcode-select -s" with its path, such as /Applications/Xcode.app.',
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
    sentence: 'Gems of the project are not installed in the VM[: $1][: $2].',
    advice: 'Run "bundle install" in the build before the command that needs them.',
  },
  {
    id: 'ruby_gems_clash',
    pattern:
      /uninitialized constant (ActiveSupport::\S+|Gem::\S+|Concurrent::\S+) \(NameError\)|(?:^|: )(You have already activated \S+ \S+, but your Gemfile requires \S+ \S+)\. |undefined method [`']((?:exists\?|untaint|=~))' for .*(?:\/gems\/|\(NoMethodError\))/,
    sentence: 'Ruby gems in the VM do not fit each other, or not this Ruby[: $1][: $2][: $3 is missing].',
    advice:
      'Update CocoaPods and Fastlane in the base image, or pin gems that fit (concurrent-ruby 1.3.4 for activesupport below 7.1) in a Gemfile and use "bundle exec".',
  },
  {
    id: 'tool_missing_fastlane',
    pattern: new RegExp(`Fastlane is not available, make sure it's installed|${NOT_FOUND('fastlane')}`),
    sentence: 'Fastlane is not installed in the VM, or not on its PATH.',
    advice: 'Run provision.sh in the base image again; it installs Fastlane.',
  },
  {
    id: 'tool_missing_cocoapods',
    pattern: new RegExp(`Cocoa[Pp]ods is not available, make sure it's installed|${NOT_FOUND('pod')}`),
    sentence: 'CocoaPods is not installed in the VM, or not on its PATH.',
    advice: 'Run provision.sh in the base image again; it installs CocoaPods.',
  },
  {
    id: 'package_program_missing',
    pattern: new RegExp(NOT_FOUND(`(${PACKAGE_PROGRAMS})`)),
    atEnd: true,
    sentence: 'The program $1$2$3 comes with a package of the project, and is not installed.',
    advice: 'Install the packages before it runs; with NODE_ENV=production devDependencies are left out.',
  },
  {
    id: 'tool_missing',
    pattern:
      /(?:^|: )command not found: ([\w./@+-]+)$|(?:^|: )([\w./@+-]+): (?:command )?not found$|^(?:\w*Error: |npm (?:error|ERR!) )?spawn ([\w./@+-]+) ENOENT\b|^env: ([\w.@+-]+): No such file or directory$|exec: "([\w./@+-]+)": executable file not found in \$PATH|^xcrun: error: unable to find utility "([\w.@+-]+)"/,
    atEnd: true,
    sentence: 'The program $1$2$3$4$5$6 is not installed in the VM, or not on its PATH.',
    advice: 'Install it in the base image and make a new snapshot of it, or install it in the build.',
  },
  {
    id: 'corepack_keys',
    pattern: /^(?:\w*Error: |Internal Error: )?Cannot find matching keyid: /,
    sentence: 'The corepack of the image is too old: it does not know the keys that the registry signs with today.',
    advice: 'Run "npm install -g corepack@latest" in the base image, or install the package manager without corepack.',
  },
];
