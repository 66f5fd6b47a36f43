/** Says what the exit codes of `expo-build` mean. Scripts rely on them, so none ever changes. */

export const EXIT = {
  ok: 0,
  /** The build failed, or something went wrong here. */
  failed: 1,
  /** The command line, the project or the key is wrong. Nothing was begun. */
  usage: 2,
  cancelled: 3,
  /** The build ended for a fault of the farm. Another try may succeed. */
  infrastructure: 4,
  /** The controller was not reached. */
  unreachable: 5,
  /** A newer build of the group replaced it. */
  superseded: 6,
  /** The build succeeded, and the store refused it. */
  refusedByStore: 7,
  /** The command left while the build goes on. */
  detached: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
