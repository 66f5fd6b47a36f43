/** What the process's exit code says. 64 is what sysexits.h calls EX_USAGE. */
export const EXIT = { ok: 0, failure: 1, config: 2, usage: 64 } as const;

/** Called by a command with its exit code. expo-worker.ts alone sets the code of the process. */
export type Exit = (code: number) => void;

/** Known already and said in one sentence: printed without a stack. */
export class CommandError extends Error {
  override name = 'CommandError';
  exitCode: number;
  constructor(message: string, exitCode: number = EXIT.failure) {
    super(message);
    this.exitCode = exitCode;
  }
}
