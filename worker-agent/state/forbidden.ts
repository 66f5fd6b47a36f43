/** Says what to do when a file of the agent belongs to root, because the agent runs as root. */
import { accessSync, constants } from 'node:fs';
import { CommandError } from '../exit-codes.ts';

/** Replaces an EACCES error of a file in the state folder by one with advice. */
export const orForbidden = (error: unknown): unknown =>
  (error as NodeJS.ErrnoException).code === 'EACCES'
    ? new CommandError('This account may not read the state of the agent. Run the same command with `sudo`.')
    : error;

/** Throws if the file exists and this account may not use it, because SQLite's own message is worse. */
export function requireUsable(path: string): void {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw orForbidden(error);
  }
}
