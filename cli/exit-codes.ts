/** Says what the exit codes of `expo-build` mean. Scripts rely on them, so none ever changes. */

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  cancelled: 3,
  infrastructure: 4,
  unreachable: 5,
  superseded: 6,
  refusedByStore: 7,
  detached: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** For `--help` and docs/expo-build.md. */
export const EXIT_WORDS: Record<keyof typeof EXIT, string> = {
  ok: 'The command did what it was asked for, and each followed build succeeded.',
  failed: 'The build failed, an artifact was not downloaded, or something unforeseen went wrong here.',
  usage: 'The command line, the project or the key is wrong. The message says what to change.',
  cancelled: 'The build or its submission was cancelled.',
  infrastructure: 'The build ended for a fault of the farm. Another try may succeed.',
  unreachable: 'The controller was not reached.',
  superseded: 'A newer build of the group replaced it.',
  refusedByStore: 'The build succeeded, and its submission to the store failed.',
  detached: 'The command was stopped. Builds go on unless it says that it has cancelled them.',
};
