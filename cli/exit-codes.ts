/** Says what the exit codes of `expo-build` mean. Scripts rely on them, so none ever changes. */

/** `usage`: the command line or the project is wrong. `failed`: something else went wrong here. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 5, detached: 130 } as const;
