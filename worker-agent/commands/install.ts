/** `expo-worker install` and `uninstall`: put the agent under launchd, and take it out again. */
import { existsSync, realpathSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { CommandError, EXIT } from '../exit-codes.ts';
import { accountOf } from '../mac/account.ts';
import { EXIT_TIMEOUT_SECONDS, type JobKind, logPathOf } from '../mac/launchd-plist.ts';
import { installJob, uninstallJob } from '../mac/launchd-service.ts';
import { createMac } from '../mac/programs.ts';
import { askOnTerminal, setUpMac } from './set-up-mac.ts';

const TRADE_OFF = `
Which of the two:
  By default a LaunchDaemon, installed with sudo: the agent runs as root from the moment the Mac is up, and runs tart as
  the account that is logged in. macOS lets it reach the VMs' network without asking; a LaunchAgent is blocked by Local
  Network privacy until somebody allows it in a dialog, and macOS has been seen to forget that. In return root executes
  the files of Node and of this package: let nobody but administrators write them.
  --launch-agent needs no root: the agent runs as the account, once it is logged in. Allow it under System Settings >
  Privacy & Security > Local Network, and look there first when every VM is "unreachable".
Either way VMs start only while the account is logged in: turn on automatic login.`;

interface InstallOptions {
  config?: string;
  user?: string;
  launchAgent: boolean;
  exitTimeout: number;
  setUpMac?: boolean;
}

export function installCommand(): Command {
  return new Command('install')
    .description('have launchd run the agent: from now on, after a crash, and after a restart of the Mac')
    .option('--config <path>', 'config file (default: .expo-worker/config.json of the account)')
    .option('--user <name>', 'the account that is logged in on this Mac (default: who called sudo)')
    .option('--launch-agent', 'as a LaunchAgent of the account instead of a LaunchDaemon', false)
    .addOption(
      new Option('--exit-timeout <seconds>', 'how long a stop may wait for a running build; more than its buildTimeout')
        .argParser(wholeSeconds)
        .default(EXIT_TIMEOUT_SECONDS),
    )
    .option('--set-up-mac', 'also set sleep, power failure, DHCP lease and Local Network, without asking')
    .option('--no-set-up-mac', 'leave these settings of the Mac alone, without asking')
    .addHelpText('after', TRADE_OFF)
    .action(async (options: InstallOptions) => {
      const mac = createMac();
      const kind: JobKind = options.launchAgent ? 'agent' : 'daemon';
      const account = await accountOf(mac, options.user);
      const configPath = options.config ?? join(account.home, '.expo-worker/config.json');
      const { plistPath, changed } = await interruptibly((signal) =>
        installJob(
          mac,
          {
            ...{ kind, account, configPath, exitTimeoutSeconds: options.exitTimeout },
            nodePath: stablePath(process.execPath, 'node'),
            scriptPath: process.argv[1]!,
          },
          { signal, onWaiting: sayWaiting },
        ),
      );
      process.stdout.write(
        changed
          ? `Installed: ${plistPath}\nThe agent runs now. Its log: ${logPathOf(configPath)} (expo-worker logs -f)\n`
          : `Nothing to do: ${plistPath} is right, and launchd has loaded it.\n`,
      );
      await interruptibly((signal) =>
        setUpMac({
          ...{ mac: { ...mac, user: account.name }, configPath, signal, wanted: options.setUpMac },
          ask: process.stdin.isTTY && process.stdout.isTTY ? askOnTerminal : null,
          write: (text) => void process.stdout.write(text),
        }),
      );
    });
}

export function uninstallCommand(): Command {
  return new Command('uninstall')
    .description('take the agent out of launchd; a running build is finished first; config and log stay')
    .option('--config <path>', 'config file (default: .expo-worker/config.json of the account)')
    .option('--user <name>', 'the account that is logged in on this Mac (default: who called sudo)')
    .action(async (options: { config?: string; user?: string }) => {
      const mac = createMac();
      const account = await accountOf(mac, options.user);
      const configPath = options.config ?? join(account.home, '.expo-worker/config.json');
      const removed = await interruptibly((signal) =>
        uninstallJob(mac, account, { configPath, signal, onWaiting: sayWaiting }),
      );
      process.stdout.write(
        removed.length > 0
          ? removed.map((path) => `Removed: ${path}\n`).join('')
          : 'Nothing to do: the agent is not installed.\n',
      );
    });
}

const sayWaiting = () =>
  process.stderr.write('The agent is finishing its build. launchd waits for it, and this command waits too…\n');

function wholeSeconds(text: string): number {
  const seconds = Number(text);
  if (!Number.isSafeInteger(seconds) || seconds < 60 || seconds > 2_592_000)
    throw new InvalidArgumentError('Give whole seconds from 60 to 2592000.');
  return seconds;
}

/** The name in PATH that leads to this file, because Homebrew moves the file with each version. */
function stablePath(executable: string, name: string): string {
  const candidates = [...(process.env.PATH ?? '').split(delimiter), '/opt/homebrew/bin', '/usr/local/bin'];
  const real = realpathSync(executable);
  const found = candidates
    .filter((dir) => dir.startsWith('/'))
    .map((dir) => join(dir, name))
    .find((path) => existsSync(path) && realpathSync(path) === real);
  return found ?? executable;
}

async function interruptibly<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = () =>
    stop.abort(new CommandError('Interrupted. Run the command again to finish.', EXIT.interrupted));
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, onSignal);
  try {
    return await work(stop.signal);
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, onSignal);
  }
}
