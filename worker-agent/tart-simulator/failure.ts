/**
 * Names the ways in which a command of Tart fails. They differ in their output and in the exit code. Only
 * `main.ts` turns them into output. Any other error is printed after "Error: ", with exit code 1.
 */

/** A command ran and failed. The message is printed without a prefix. */
export class RuntimeError extends Error {
  override name = 'RuntimeError';
  readonly exitCode: number;
  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The arguments are wrong. The message is printed with the usage; the exit code is 64. */
export class UsageError extends Error {
  override name = 'UsageError';
  /** A second line, which explains the argument that is missing. */
  readonly help: string | undefined;
  /**
   * True if Tart shows its own usage instead of the command's, because the command validates while it runs.
   */
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
/** The error of `tart list` as a whole if a VM is deleted while Tart reads it. */
export const vmVanished = () => new Error('The file “config.json” couldn’t be opened because there is no such file.');
