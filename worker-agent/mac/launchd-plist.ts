/**
 * Writes the property list by which launchd runs the agent. Pure.
 *
 *                   daemon (default)                       agent (--launch-agent)
 *   runs as         root; tart as the account              the account
 *   starts          with the Mac, VMs once logged in       when the account logs in
 *   Local Network   exempt                                 asks once, may forget
 *
 * Invariant: launchd restarts the agent whenever it ends, does not end its VMs with it, and waits for a whole
 * build before it kills the agent.
 */
import { dirname, join } from 'node:path';
import { build } from 'plist';
import { DEFAULT_TIMEOUTS } from '#contract';
import type { Account } from './account.ts';
import { TART_USER_VARIABLES } from './run-as.ts';

export const LABEL = 'tartbeat.expo-worker';
export const JOB_KINDS = ['daemon', 'agent'] as const;
export type JobKind = (typeof JOB_KINDS)[number];

export interface JobOptions {
  kind: JobKind;
  account: Account;
  nodePath: string;
  scriptPath: string;
  configPath: string;
  exitTimeoutSeconds: number;
}

/** The time in which the artifacts of a build reach the controller. */
const DELIVERY_SECONDS = 1_800;
/** A whole build with the default time-out, and the delivery of its artifacts. */
export const EXIT_TIMEOUT_SECONDS = DEFAULT_TIMEOUTS.buildTimeoutMs / 1000 + DELIVERY_SECONDS;
/** The PATH that launchd gives to its jobs does not contain Homebrew's folders, where tart is. */
const PATH = ['/opt/homebrew/bin', '/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'];

export const plistPathOf = (kind: JobKind, account: Pick<Account, 'home'>): string =>
  kind === 'daemon'
    ? `/Library/LaunchDaemons/${LABEL}.plist`
    : join(account.home, `Library/LaunchAgents/${LABEL}.plist`);

export const domainOf = (kind: JobKind, { uid }: Pick<Account, 'uid'>): string =>
  kind === 'daemon' ? 'system' : `gui/${uid}`;

/** The logs are beside the config. `expo-worker logs` reads the first of the two. */
export const logPathOf = (configPath: string): string => join(dirname(configPath), 'agent.log');
export const errorLogPathOf = (configPath: string): string => join(dirname(configPath), 'agent-errors.log');

export function jobOf(options: JobOptions) {
  const { kind, account, nodePath, scriptPath, configPath, exitTimeoutSeconds } = options;
  const asAccount = { [TART_USER_VARIABLES.name]: account.name, [TART_USER_VARIABLES.uid]: String(account.uid) };
  return {
    Label: LABEL,
    ProgramArguments: [nodePath, scriptPath, 'run', '--config', configPath, '--log-file', logPathOf(configPath)],
    EnvironmentVariables: {
      HOME: account.home,
      USER: account.name,
      PATH: [...new Set([dirname(nodePath), ...PATH])].join(':'),
      ...(kind === 'daemon' ? asAccount : {}),
    },
    WorkingDirectory: account.home,
    RunAtLoad: true,
    KeepAlive: true,
    ThrottleInterval: 10,
    // `tart run` must outlive the agent, because a restarted agent continues its builds.
    AbandonProcessGroup: true,
    ExitTimeOut: exitTimeoutSeconds,
    // With any other type macOS slows down the agent and its beats.
    ProcessType: 'Interactive',
    Umask: 0o077,
    StandardOutPath: '/dev/null',
    // For errors that the agent's own log cannot contain: why the agent did not start.
    StandardErrorPath: errorLogPathOf(configPath),
    ...(kind === 'agent' ? { LimitLoadToSessionType: 'Aqua' } : {}),
  };
}

export const plistOf = (options: JobOptions): string => `${build(jobOf(options))}\n`;
