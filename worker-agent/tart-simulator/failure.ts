/**
 * How a command of Tart ends when it does not succeed. The three kinds differ in what they print and in their exit
 * code; `main.ts` alone turns them into output.
 */

/** Thrown by a command that ran and failed. Printed bare, without a prefix. */
export class RuntimeError extends Error {
  override name = 'RuntimeError';
  readonly exitCode: number;
  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Thrown before a command ran: its arguments are wrong. Printed with the usage; exit code 64. */
export class UsageError extends Error {
  override name = 'UsageError';
  /** A second line, which explains the argument that is missing. */
  readonly help: string | undefined;
  /** Some commands validate while they run; Tart then shows its own usage instead of the command's. */
  readonly rootUsage: boolean;
  constructor(message: string, { help, rootUsage = false }: { help?: string; rootUsage?: boolean } = {}) {
    super(message);
    this.help = help;
    this.rootUsage = rootUsage;
  }
}

export const vmDoesNotExist = (name: string) => new RuntimeError(`the specified VM "${name}" does not exist`, 2);
export const vmNotRunning = (name: string) => new RuntimeError(`VM "${name}" is not running`, 2);
export const vmAlreadyRunning = (name: string) => new RuntimeError(`VM "${name}" is already running!`, 2);
