/** Says what the exit codes of the commands mean. */

/** `usage` is EX_USAGE of sysexits.h. `interrupted` is the exit code that a shell gives after Ctrl-C. */
export const EXIT = { ok: 0, failure: 1, config: 2, usage: 64, interrupted: 130 } as const;

/** The message says everything, so it is printed without a stack. */
export class CommandError extends Error {
  override name = 'CommandError';
  exitCode: number;
  constructor(message: string, exitCode: number = EXIT.failure) {
    super(message);
    this.exitCode = exitCode;
  }
}
