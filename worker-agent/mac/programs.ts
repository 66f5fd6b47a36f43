/**
 * Runs macOS's own commands, from a closed table.
 *
 * Invariant: every call ends, and its outcome is a value. A command is run by its full path, because the
 * agent may be root and PATH may contain folders that others can write to.
 */
import { join } from 'node:path';
import { execa } from 'execa';
import { TART_USER_VARIABLES } from './run-as.ts';

const PATHS = {
  caffeinate: '/usr/bin/caffeinate',
  defaults: '/usr/bin/defaults',
  dscl: '/usr/bin/dscl',
  fdesetup: '/usr/bin/fdesetup',
  id: '/usr/bin/id',
  launchctl: '/bin/launchctl',
  mount: '/sbin/mount',
  pmset: '/usr/bin/pmset',
  ps: '/bin/ps',
  security: '/usr/bin/security',
  socketfilterfw: '/usr/libexec/ApplicationFirewall/socketfilterfw',
  stat: '/usr/bin/stat',
  sudo: '/usr/bin/sudo',
  sw_vers: '/usr/bin/sw_vers',
  sysctl: '/usr/sbin/sysctl',
  uname: '/usr/bin/uname',
} as const;
export type MacCommand = keyof typeof PATHS;
export const isMacCommand = (name: string): name is MacCommand => Object.hasOwn(PATHS, name);

const LIMIT_MS = 10_000;

export interface MacAnswer {
  /** Null if the command could not be started, was killed, or did not end in time. */
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

export interface Mac {
  readonly platform: NodeJS.Platform;
  /** The uid of this process; 0 is root. */
  readonly uid: number;
  /** The name of the account in whose session VMs run. */
  readonly user: string;
  run(command: MacCommand, args: readonly string[], signal?: AbortSignal, limitMs?: number): Promise<MacAnswer>;
  pathOf(command: MacCommand): string;
  /** The path of a file of the system. */
  file(path: string): string;
}

export interface MacOptions {
  platform?: NodeJS.Platform;
  uid?: number;
  user?: string;
  /** The folder that takes the place of `/`, for files. */
  root?: string;
  /** A folder with stand-ins of all commands, for tests. */
  commandDir?: string | undefined;
}

export function createMac(options: MacOptions = {}): Mac {
  const { platform = process.platform, root = '/', commandDir } = options;
  const pathOf = (command: MacCommand) => (commandDir ? join(commandDir, command) : PATHS[command]);
  return {
    platform,
    uid: options.uid ?? process.getuid?.() ?? -1,
    user: options.user ?? process.env[TART_USER_VARIABLES.name] ?? process.env.SUDO_USER ?? process.env.USER ?? '',
    pathOf,
    file: (path) => join(root, path),
    async run(command, args, signal, limitMs = LIMIT_MS) {
      const result = await execa(pathOf(command), args, {
        reject: false,
        stdin: 'ignore',
        timeout: limitMs,
        cancelSignal: signal,
        forceKillAfterDelay: 1_000,
        maxBuffer: 4 * 1024 * 1024,
      });
      return { exitCode: result.exitCode ?? null, stdout: result.stdout ?? '', stderr: result.stderr ?? '' };
    },
  };
}
