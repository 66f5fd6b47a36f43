/** Says what to do where the agent runs as root, and so its files belong to root. */
import { accessSync, constants } from 'node:fs';
import { CommandError } from '../exit-codes.ts';

/** The error to throw instead of one of a file in the state folder. */
export const orForbidden = (error: unknown): unknown =>
  (error as NodeJS.ErrnoException).code === 'EACCES'
    ? new CommandError('This account may not read the state of the agent. Run the same command with `sudo`.')
    : error;

/** Throws if the file is there and this account may not use it, which SQLite would say in worse words. */
export function requireUsable(path: string): void {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw orForbidden(error);
  }
}
