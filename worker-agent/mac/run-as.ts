/**
 * As whom Tart runs. The agent of a LaunchDaemon is root, which macOS lets reach the VMs' network without asking; VMs start only in the
 * session of the account that is logged in, so `tart` is handed over to it.
 *
 * Invariant: nothing but root hands over, and only to a plain account. install writes the variables, sudo sets its own.
 */
export interface TartUser {
  name: string;
  uid: number;
}

export const TART_USER_VARIABLES = { name: 'EXPO_WORKER_TART_USER', uid: 'EXPO_WORKER_TART_UID' } as const;

/** Null where tart runs as the agent does: it is not root, or nobody else is named. */
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

/**
 * The words before tart's own: into the account's session, which holds its keychain, then to its rights. The variables are
 * handed over by env, since sudo begins with few.
 */
export const asTartUser = (
  { name, uid }: TartUser,
  variables: Record<string, string | undefined>,
  { launchctl, sudo }: { launchctl: string; sudo: string } = { launchctl: '/bin/launchctl', sudo: '/usr/bin/sudo' },
): [string, ...string[]] => [
  launchctl,
  ...['asuser', String(uid), sudo, '-n', '-H', '-u', name, '--', '/usr/bin/env'],
  ...Object.entries(variables).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`])),
];
