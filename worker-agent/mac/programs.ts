/**
 * The only module that runs macOS's own commands, from a closed table: by their full paths, because the agent may be root and PATH may
 * name folders that others can write.
 *
 * Invariant: every call ends, and its outcome is a value.
 */
import { join } from 'node:path';
import { execa } from 'execa';

const PATHS = {
  caffeinate: '/usr/bin/caffeinate',
  defaults: '/usr/bin/defaults',
  dscl: '/usr/bin/dscl',
  fdesetup: '/usr/bin/fdesetup',
  id: '/usr/bin/id',
  launchctl: '/bin/launchctl',
  pmset: '/usr/bin/pmset',
  ps: '/bin/ps',
  security: '/usr/bin/security',
  socketfilterfw: '/usr/libexec/ApplicationFirewall/socketfilterfw',
  stat: '/usr/bin/stat',
  sudo: '/usr/bin/sudo',
  sw_vers: '/usr/bin/sw_vers',
  uname: '/usr/bin/uname',
} as const;
export type MacCommand = keyof typeof PATHS;

const LIMIT_MS = 10_000;

export interface MacAnswer {
  /** Null if it could not be started, was killed, or did not end in time. */
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

export interface Mac {
  readonly platform: NodeJS.Platform;
  /** Of this process: 0 is root. */
  readonly uid: number;
  /** Whose desktop this is, for checks that concern the account. */
  readonly user: string;
  run(command: MacCommand, args: readonly string[], signal?: AbortSignal): Promise<MacAnswer>;
  pathOf(command: MacCommand): string;
  /** Of a file of the system. */
  file(path: string): string;
}

export interface MacOptions {
  platform?: NodeJS.Platform;
  uid?: number;
  user?: string;
  /** Instead of `/`, for files. */
  root?: string;
  /** Where stand-ins of all commands are. */
  commandDir?: string | undefined;
}

export function createMac(options: MacOptions = {}): Mac {
  const { platform = process.platform, root = '/', commandDir } = options;
  const pathOf = (command: MacCommand) => (commandDir ? join(commandDir, command) : PATHS[command]);
  return {
    platform,
    uid: options.uid ?? process.getuid?.() ?? -1,
    user: options.user ?? process.env.EXPO_WORKER_TART_USER ?? process.env.SUDO_USER ?? process.env.USER ?? '',
    pathOf,
    file: (path) => join(root, path),
    async run(command, args, signal) {
      const result = await execa(pathOf(command), args, {
        reject: false,
        stdin: 'ignore',
        timeout: LIMIT_MS,
        cancelSignal: signal,
        forceKillAfterDelay: 1_000,
        maxBuffer: 4 * 1024 * 1024,
      });
      return { exitCode: result.exitCode ?? null, stdout: result.stdout ?? '', stderr: result.stderr ?? '' };
    },
  };
}
