/** Says why a command ends without success, in words for a person, and with which exit code. */
import { EXIT, type ExitCode } from './exit-codes.ts';

export class CommandError extends Error {
  override name = 'CommandError';
  readonly exitCode: ExitCode;
  constructor(message: string, exitCode: ExitCode = EXIT.usage) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Ends a command that has said everything itself, with an exit code other than 0. */
export class CommandEnd extends Error {
  override name = 'CommandEnd';
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode) {
    super(`exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** For commands whose work resolves with the exit code. */
export function endWith(exitCode: ExitCode): void {
  if (exitCode !== EXIT.ok) throw new CommandEnd(exitCode);
}
