/**
 * Runs one command of `expo-build`: finds it by its name, and says in words and in an exit code how it ended.
 *
 * Invariant: a run leaves nothing in its process, so that the process can run another command, as tests do.
 */
import { Command, CommanderError, Help, type Option } from 'commander';
import { ApiError } from '../client/answer.ts';
import { SourceError } from '../client/packing/source-error.ts';
import { printable, printableLines } from '../client/printable.ts';
import { CommandEnd, CommandError } from './command-error.ts';
import { EXIT, EXIT_WORDS, type ExitCode } from './exit-codes.ts';
import { guardOutput } from './github-actions/guard-output.ts';
import type { Interrupts } from './interrupts.ts';
import { printJson } from './json-lines/json-lines.ts';
import { VERSION } from './version.ts';
import { table } from './words.ts';

const EXIT_CODES = `
Exit codes:
${table(
  Object.entries(EXIT).map(([name, code]) => [`  ${code}`, EXIT_WORDS[name as keyof typeof EXIT]]),
  Number.POSITIVE_INFINITY,
)}`;

type Make = (interrupts: Interrupts) => Command;

/** Only the named command is loaded, because to load the others would take longer than to run it. */
const COMMANDS: Record<string, Record<string, () => Promise<Make>>> = {
  'In the folder of an app:': {
    init: async () => (await import('./commands/project/init.ts')).initCommand,
    submit: async () => (await import('./commands/project/submit.ts')).submitCommand,
    explain: async () => (await import('./commands/project/explain.ts')).explainCommand,
    pack: async () => (await import('./commands/project/pack.ts')).packCommand,
  },
  'Builds:': {
    status: async () => (await import('./commands/builds/status.ts')).statusCommand,
    list: async () => (await import('./commands/builds/list.ts')).listCommand,
    watch: async () => (await import('./commands/builds/watch.ts')).watchCommand,
    logs: async () => (await import('./commands/builds/logs.ts')).logsCommand,
    download: async () => (await import('./commands/builds/download.ts')).downloadCommand,
    cancel: async () => (await import('./commands/builds/cancel.ts')).cancelCommand,
    retry: async () => (await import('./commands/builds/retry.ts')).retryCommand,
    open: async () => (await import('./commands/builds/open.ts')).openCommand,
    upload: async () => (await import('./commands/builds/upload.ts')).uploadCommand,
  },
  'The controller, a project, the farm:': {
    login: async () => (await import('./commands/farm/login.ts')).loginCommand,
    version: async () => (await import('./commands/farm/version.ts')).versionCommand,
    secrets: async () => (await import('./commands/farm/secrets.ts')).secretsCommand,
    'store-keys': async () => (await import('./commands/farm/store-keys.ts')).storeKeysCommand,
    links: async () => (await import('./commands/farm/links.ts')).linksCommand,
    workers: async () => (await import('./commands/farm/workers.ts')).workersCommand,
  },
};
/** Commands that no person types. */
const HIDDEN: Record<string, () => Promise<Make>> = {
  'github-action': async () => (await import('./commands/project/github-action.ts')).githubActionCommand,
};

/** Names that people know from eas-cli, or from our other command. */
const OTHER_NAMES: Record<string, string> = {
  build: 'submit',
  'build:list': 'list',
  'build:view': 'status',
  'build:cancel': 'cancel',
  env: 'secrets',
  logout: 'login --forget',
  doctor: 'init',
};

/** Runs the command that the arguments of this process name, and resolves with the exit code. */
export async function runCommand(interrupts: Interrupts): Promise<ExitCode> {
  guardOutput();
  const [, , named = ''] = process.argv;
  const program = await programFor(named, interrupts);
  try {
    if (Object.hasOwn(OTHER_NAMES, named))
      throw new CommandError(`There is no command ${named}. Run \`expo-build ${OTHER_NAMES[named]}\`.`);
    await program.parseAsync();
    return EXIT.ok;
  } catch (error) {
    return exitCodeOf(error as Error, interrupts);
  }
}

async function programFor(named: string, interrupts: Interrupts): Promise<Command> {
  const program = new Command('expo-build')
    .description('Builds Expo apps on the Macs of a Tartbeat farm.')
    .version(VERSION)
    .configureHelp({ optionDescription })
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
    .showHelpAfterError('`expo-build --help` lists all commands, and `expo-build COMMAND --help` the options of one.');
  const groups = [...Object.entries(COMMANDS), [null, HIDDEN] as const];
  // Help and the suggestion of the nearest name need all commands.
  const isKnown = groups.some(([, commands]) => Object.hasOwn(commands, named));
  for (const [group, commands] of groups)
    for (const [name, load] of Object.entries(commands)) {
      if (isKnown && name !== named) continue;
      const command = withSettingsOf(program, (await load())(interrupts));
      if (group === null) program.addCommand(command, { hidden: true });
      else program.addCommand(command.helpGroup(group));
    }
  return program;
}

/** Leaves out `(default: false)` at each switch, and `(default: [])` at an option that may be given again. */
function optionDescription(this: Help, option: Option): string {
  const { defaultValue, description } = option;
  const saysNothing = defaultValue === false || (Array.isArray(defaultValue) && defaultValue.length === 0);
  return saysNothing ? description : Help.prototype.optionDescription.call(this, option);
}

/** Commander hands these down only to commands that it has made itself. */
function withSettingsOf(parent: Command, command: Command): Command {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) withSettingsOf(command, child);
  return command;
}

function exitCodeOf(error: Error, { signal }: Interrupts): ExitCode {
  if (error instanceof CommandEnd) return error.exitCode;
  // Commander has printed its own message. Help and version end with such an error too.
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
  const known = knownExitCode(error, signal);
  const exitCode = known ?? EXIT.failed;
  const said = sentenceOf(error);
  const message = signal.aborted ? 'stopped' : known === null ? (error.stack ?? said) : said;
  if (process.argv.includes('--json')) printJson({ type: 'error', message: said, exitCode });
  if (!(error instanceof CommanderError)) process.stderr.write(`expo-build: ${printableLines(message)}\n`);
  return exitCode;
}

function sentenceOf(error: Error): string {
  // Commander's own message is for a terminal.
  if (error instanceof CommanderError) return error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  if (!(error instanceof ApiError)) return error.message;
  // In one line, so that the text of a controller cannot begin a line of ours.
  const message = printable(error.reason);
  if (error.status === 401) return `${message}. Run \`expo-build login\``;
  if (error.code !== 'unavailable') return message;
  const http = message.includes('ERR_SSL_WRONG_VERSION_NUMBER') ? '. It speaks no https there' : '';
  return `The controller was not reached: ${message}${http}`;
}

/** Null: the code does not expect this error. */
function knownExitCode(error: Error, signal: AbortSignal): ExitCode | null {
  if (error instanceof CommandError) return error.exitCode;
  if (error instanceof CommanderError || error instanceof SourceError) return EXIT.usage;
  if (error instanceof ApiError) return error.status < 500 ? EXIT.usage : EXIT.unreachable;
  return signal.aborted ? EXIT.detached : null;
}
