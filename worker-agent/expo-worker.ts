#!/usr/bin/env node
/**
 * Runs the command line of the agent.
 *
 * Invariant: only this file sets the exit code. exit-codes.ts says what each code means.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { printableLines } from '../client/printable.ts';
import { defaultConfigPath, expandHome } from './config.ts';
import { ConfigError } from './config-findings.ts';
import { CommandError, EXIT } from './exit-codes.ts';
import { AGENT_VERSION } from './version.ts';

const configOption = () =>
  new Option('--config <path>', 'the config file; its folder also holds the state')
    .default(defaultConfigPath())
    .argParser(expandHome);
const jsonOption = (what: string) => new Option('--json', what).default(false);

const exitWith = (exitCode: number) => {
  process.exitCode = exitCode;
};

/** Loads only the command that was named, because loading the others would take longer than running it. */
const COMMANDS: Record<string, () => Command | Promise<Command>> = {
  init: async () => (await import('./commands/init.ts')).initCommand(exitWith),
  'base-image': async () => (await import('./commands/base-image.ts')).baseImageCommand(exitWith),
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand(exitWith),
  images: async () => (await import('./commands/images.ts')).imagesCommand(),
  install: async () => (await import('./commands/install.ts')).installCommand(),
  uninstall: async () => (await import('./commands/install.ts')).uninstallCommand(),
  run: () =>
    new Command('run')
      .description(
        'take builds until stopped; the first SIGTERM or Ctrl-C finishes what runs, a second one stops at once',
      )
      .addOption(configOption())
      .addOption(jsonOption('print each event as one JSON object on one line'))
      .option('--once', 'leave after one build', false)
      .option('--verbose', 'print each beat and each step', false)
      .option('--log-file <path>', 'write there instead, in files of at most 10 MB', expandHome)
      .action(async (options) => (await import('./commands/run.ts')).runCommand(options)),
  status: () =>
    new Command('status')
      .description('show what the agent on this Mac is doing; fails if it is not running')
      .addOption(configOption())
      .addOption(jsonOption('print it as JSON'))
      .option('-w, --watch', 'show it anew every two seconds', false)
      .option('--timeouts', "propose timeouts from this worker's last 20 successful builds", false)
      .action(async ({ timeouts, ...options }) => {
        if (timeouts) return (await import('./commands/timeouts.ts')).timeoutsCommand(options);
        exitWith(await (await import('./commands/status.ts')).statusCommand(options));
      }),
  logs: () =>
    new Command('logs')
      .description('show the log of the agent that launchd runs')
      .addOption(configOption())
      .option('-f, --follow', 'go on with what is added', false)
      .option('-n, --lines <number>', 'how many lines of the end', wholeNumber, 200)
      .action(async (options) => {
        const stop = new AbortController();
        for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
        const write = (text: string) => void process.stdout.write(text);
        await (await import('./commands/logs.ts')).logsCommand({ ...options, signal: stop.signal, write });
      }),
  shell: () =>
    new Command('shell')
      .description('open a shell in the VM of a failed build that is kept')
      .argument('<build>', 'the id of the build, or BUILD#ATTEMPT, as `expo-worker status` shows it')
      .argument('[attempt]', 'if VMs of several attempts are kept', wholeNumber)
      .addOption(configOption())
      .addHelpText('after', '\nThe terminal shows text and colours alone. Ends with the exit code of the shell.')
      .action(async (build, attempt, options) =>
        exitWith(await (await import('./commands/shell.ts')).shellCommand({ build, attempt, ...options })),
      ),
  release: () =>
    new Command('release')
      .description('end the VM of a failed build that is kept, and free its slot')
      .argument('<build>', 'the id of the build, or BUILD#ATTEMPT, as `expo-worker status` shows it')
      .argument('[attempt]', 'if VMs of several attempts are kept', wholeNumber)
      .addOption(configOption())
      .action(async (build, attempt, options) =>
        (await import('./commands/release.ts')).releaseCommand({ build, attempt, ...options }),
      ),
  'rotate-key': () =>
    new Command('rotate-key')
      .description("renew this worker's key in place; builds go on")
      .addOption(configOption())
      .action(async (options) => (await import('./commands/rotate-key.ts')).rotateKeyCommand(options)),
};

function wholeNumber(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0 && number <= 100_000) return number;
  throw new InvalidArgumentError('Give a whole number from 0 to 100000.');
}

const program = new Command('expo-worker')
  .description('Runs iOS and Expo builds on this Mac, each in a fresh Tart VM, for a Tartbeat controller.')
  .version(AGENT_VERSION)
  .exitOverride()
  .showHelpAfterError('`expo-worker --help` lists all commands, and `expo-worker COMMAND --help` the options of one.')
  .configureHelp({ showGlobalOptions: true });

const [, , named = ''] = process.argv;
const makers = Object.entries(COMMANDS).filter(([name]) => name === named || !Object.hasOwn(COMMANDS, named));
for (const [, make] of makers) program.addCommand((await make()).copyInheritedSettings(program));

// The program that reads our output may end before us, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

/** The messages of these errors say everything, so they are printed without a stack. */
const KNOWN = new Set(['AgentLockedError', 'AgentIdentityError']);

try {
  await program.parseAsync();
} catch (error) {
  exitWith(exitCodeOf(error as Error));
}

function exitCodeOf(error: Error): number {
  // Commander has printed its own message. It also throws after it has printed help or the version.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const known = error instanceof CommandError || error instanceof ConfigError || KNOWN.has(error.name);
  process.stderr.write(`expo-worker: ${printableLines(known ? error.message : (error.stack ?? error.message))}\n`);
  if (error instanceof CommandError) return error.exitCode;
  return error instanceof ConfigError ? EXIT.config : EXIT.failure;
}
