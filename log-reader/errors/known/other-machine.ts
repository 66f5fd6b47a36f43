import type { KnownError } from './known-error.ts';

/**
 * The source contains things that only work on the machine where it was packed: paths, programs, attributes
 * of files.
 */
export const OTHER_MACHINE: readonly KnownError[] = [
  {
    id: 'node_of_another_mac',
    pattern:
      /(?:^|: )(\/\S*\/node): (?:No such file or directory|not found)$|^No such file or directory: (\/\S*\/node)$/,
    sentence: 'The build calls Node.js at $1$2, which is where another Mac has it.',
    advice: 'Take ios/.xcode.env.local out of the source, and put it into .gitignore: it belongs to one machine.',
  },
  {
    id: 'source_extended_attributes',
    pattern: /: resource fork, Finder information, or similar detritus not allowed$/,
    sentence:
      'A file cannot be signed because extended attributes, or "._" files, of another Mac came with the source.',
    advice:
      'Pack the source with "COPYFILE_DISABLE=1 tar --no-xattrs", or run "xattr -cr ." and delete "._" files in the build before Xcode.',
  },
  {
    id: 'source_apple_double',
    pattern: /(?:^|[ /'"(])(\._[\w.+-]+\.\w+)\b(?=.*\b(?:error|Error|invalid|not valid|malformed|failed)\b)/,
    sentence: 'The source holds "._" files of another Mac, and a tool took $1 for a real one.',
    advice: 'Pack the source with COPYFILE_DISABLE=1, and delete "._" files from it.',
  },
  {
    id: 'cmake_cache_of_another_machine',
    pattern: /The current CMakeCache\.txt directory \S+ is different than the directory/,
    sentence: 'The source holds the CMake cache of another machine (android/app/.cxx or a build folder).',
    advice: 'Take .cxx and build folders out of the source, also those in node_modules.',
  },
  {
    id: 'android_sdk_of_another_machine',
    pattern: /The SDK directory '([^']+)' does not exist/,
    sentence: 'The Android SDK is looked for at $1, which is where another machine has it.',
    advice: 'Take local.properties out of the source, and set ANDROID_HOME in the base image.',
  },
  {
    id: 'packages_of_another_machine',
    pattern:
      /You installed esbuild for another platform than the one you're currently using|(?:^|: )Cannot find module '?(@(?:rollup\/rollup|esbuild|swc\/core|parcel\/watcher|next\/swc|img\/sharp|oxlint|biomejs\/cli)-[\w-]+|(?:\S*\/)?lightningcss\.[\w-]+\.node)|(?:^|: )(?:bad CPU type in executable|Exec format error|cannot execute binary file)/i,
    sentence: 'Packages were installed on a machine with another system or processor[: $1].',
    advice:
      'Do not pack node_modules with the source: install in the build; if the lock file was made elsewhere, see that it lists optional packages of all platforms.',
  },
  {
    id: 'line_endings',
    pattern:
      /^env: (\w+)\\r: No such file or directory|: \/bin\/(?:ba|z)?sh\^M: bad interpreter|\$'\\r': command not found/,
    sentence: 'A script in the source has the line endings of Windows, and cannot be run.',
    advice: 'Commit scripts with LF line endings (in .gitattributes: "*.sh text eol=lf").',
  },
  {
    id: 'not_executable',
    pattern: /(?:^|: )((?:\.\/|\/)?\S*(?:gradlew|\.sh)): Permission denied$/,
    sentence: 'The file $1 is in the source but may not be run.',
    advice: 'Run "git update-index --chmod=+x" on it and commit, or call it as an argument of "bash".',
  },
  {
    id: 'ruby_architecture',
    pattern: /incompatible architecture \(have '?(\w+)'?, need '?(\w+)'?.*\.bundle|\.bundle.*incompatible architecture/,
    sentence: 'A Ruby extension in the VM was built for another processor.',
    advice: 'Reinstall CocoaPods in the base image without Rosetta.',
  },
];
