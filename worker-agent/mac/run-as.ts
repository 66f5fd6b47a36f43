/**
 * Decides as which account Tart runs, and makes the words before `tart` for that account. Pure.
 *
 * The agent of a LaunchDaemon is root, and macOS lets root reach the VMs' network without a question. VMs
 * start only in the session of the account that is logged in, so a root agent runs `tart` as this account. It
 * learns the account from variables: `expo-worker install` writes them into the job, and sudo sets its own.
 *
 * Invariant: only root runs tart as another account, and this account is never root.
 */
import { basename } from 'node:path';

export interface TartUser {
  name: string;
  uid: number;
}

export const TART_USER_VARIABLES = { name: 'EXPO_WORKER_TART_USER', uid: 'EXPO_WORKER_TART_UID' } as const;

/** Null if tart runs as the agent's account, because the agent is not root or no other account is named. */
export function tartUserOf(
  platform: NodeJS.Platform = process.platform,
  uid: number | undefined = process.getuid?.(),
  env: NodeJS.ProcessEnv = process.env,
): TartUser | null {
  if (platform !== 'darwin' || uid !== 0) return null;
  const name = env[TART_USER_VARIABLES.name] ?? env.SUDO_USER;
  const id = Number(env[TART_USER_VARIABLES.uid] ?? env.SUDO_UID ?? Number.NaN);
  return name && /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/.test(name) && Number.isSafeInteger(id) && id > 0
    ? { name, uid: id }
    : null;
}

const COMMANDS = { launchctl: '/bin/launchctl', sudo: '/usr/bin/sudo' };

/** The programs that {@link asTartUser} puts before tart. sudo keeps running until tart ends. */
export const wrappersOf = ({ launchctl, sudo } = COMMANDS): string[] =>
  [launchctl, sudo, '/usr/bin/env'].map((path) => basename(path));

/**
 * The words before tart's own. launchctl enters the account's session, which contains its keychain; sudo
 * takes the account's rights; env passes the variables on, because sudo removes most of them.
 */
export const asTartUser = (
  { name, uid }: TartUser,
  variables: Record<string, string | undefined>,
  { launchctl, sudo } = COMMANDS,
): [string, ...string[]] => [
  launchctl,
  ...['asuser', String(uid), sudo, '-n', '-H', '-u', name, '--', '/usr/bin/env'],
  ...Object.entries(variables).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`])),
];
