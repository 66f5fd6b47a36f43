/** Why a command ends without success, in words for a person, and its exit code. */
import { EXIT, type ExitCode } from './exit-codes.ts';

export class CommandError extends Error {
  override name = 'CommandError';
  readonly exitCode: ExitCode;
  constructor(message: string, exitCode: ExitCode = EXIT.usage) {
    super(message);
    this.exitCode = exitCode;
  }
}
