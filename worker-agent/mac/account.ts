/** Finds the account in whose session VMs run: its name, its uid and its home. */
import { CommandError } from '../exit-codes.ts';
import type { Mac } from './programs.ts';

export interface Account {
  name: string;
  uid: number;
  home: string;
}

/** Rejects with CommandError if the account does not exist, or if it is root. */
export async function accountOf(mac: Mac, named?: string): Promise<Account> {
  const name = named ?? mac.user;
  if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/.test(name) || name === 'root')
    throw new CommandError('It is not clear which account is logged in on this Mac. Name it with --user.');
  const { stdout: uid, exitCode } = await mac.run('id', ['-u', name]);
  if (exitCode !== 0 || !/^\d+\s*$/.test(uid))
    throw new CommandError(
      `--user: there is no account ${name} on this Mac. \`dscl . -list /Users\` shows the accounts`,
    );
  const { stdout } = await mac.run('dscl', ['.', '-read', `/Users/${name}`, 'NFSHomeDirectory']);
  const home = /^NFSHomeDirectory: (\/.*)$/m.exec(stdout)?.[1] ?? `/Users/${name}`;
  return { name, uid: Number(uid), home };
}
