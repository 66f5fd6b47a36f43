/** Defines what every file in `commands/` exports. */
import type { Arguments, Grammar } from './arguments.ts';

export interface Command extends Grammar {
  /** Throws `RuntimeError` or `UsageError`; otherwise the exit code is 0. */
  run(args: Arguments, tartHome: string): Promise<void> | void;
  /** Runs before the command does anything. Throws `UsageError`. */
  validate?(args: Arguments, tartHome: string): void;
}

export const VM_NAME = { name: 'name', help: 'VM name' } as const;
