/**
 * What launchd is told about the agent. Pure: from who and where to the property list.
 *
 *                   daemon (default)                       agent (--launch-agent)
 *   runs as         root; tart as the account              the account
 *   starts          with the Mac, VMs once logged in       when the account logs in
 *   Local Network   exempt                                 asks once, may forget
 *
 * Invariant: launchd restarts the agent whatever happened, leaves its VMs alone, and waits for a whole build before it kills it.
 */
import { dirname, join } from 'node:path';
import { build } from 'plist';
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

/** A whole build of the default buildTimeout, and the way back of its artifacts. */
export const EXIT_TIMEOUT_SECONDS = 7_200 + 1_800;
/** launchd gives its jobs next to nothing; Homebrew is where tart is. */
const PATH = ['/opt/homebrew/bin', '/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'];

export const plistPathOf = (kind: JobKind, account: Pick<Account, 'home'>): string =>
  kind === 'daemon'
    ? `/Library/LaunchDaemons/${LABEL}.plist`
    : join(account.home, `Library/LaunchAgents/${LABEL}.plist`);

export const domainOf = (kind: JobKind, { uid }: Pick<Account, 'uid'>): string =>
  kind === 'daemon' ? 'system' : `gui/${uid}`;

/** Beside the config, where `expo-worker logs` looks. */
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
    // `tart run` must outlive the agent: a restarted one takes its builds up again.
    AbandonProcessGroup: true,
    ExitTimeOut: exitTimeoutSeconds,
    // Anything less and macOS slows the agent, and with it its heartbeats.
    ProcessType: 'Interactive',
    Umask: 0o077,
    StandardOutPath: '/dev/null',
    // What the agent's own log cannot hold: why it did not start.
    StandardErrorPath: errorLogPathOf(configPath),
    ...(kind === 'agent' ? { LimitLoadToSessionType: 'Aqua' } : {}),
  };
}

export const plistOf = (options: JobOptions): string => `${build(jobOf(options))}\n`;
