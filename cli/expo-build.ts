#!/usr/bin/env node
/**
 * Runs the command line for people who build apps.
 *
 * Invariant: the exit code is set here alone. exit-codes.ts says what each means.
 */
import { Command, CommanderError, Help, type Option } from 'commander';
import { ApiError } from '../client/answer.ts';
import { SourceError } from '../client/packing/source-error.ts';
import { printable, printableLines } from '../client/printable.ts';
import { CommandEnd, CommandError } from './command-error.ts';
import { cancelCommand } from './commands/builds/cancel.ts';
import { downloadCommand } from './commands/builds/download.ts';
import { listCommand } from './commands/builds/list.ts';
import { logsCommand } from './commands/builds/logs.ts';
import { openCommand } from './commands/builds/open.ts';
import { retryCommand } from './commands/builds/retry.ts';
import { statusCommand } from './commands/builds/status.ts';
import { uploadCommand } from './commands/builds/upload.ts';
import { watchCommand } from './commands/builds/watch.ts';
import { linksCommand } from './commands/farm/links.ts';
import { loginCommand } from './commands/farm/login.ts';
import { secretsCommand } from './commands/farm/secrets.ts';
import { versionCommand } from './commands/farm/version.ts';
import { workersCommand } from './commands/farm/workers.ts';
import { explainCommand } from './commands/project/explain.ts';
import { githubActionCommand } from './commands/project/github-action.ts';
import { initCommand } from './commands/project/init.ts';
import { packCommand } from './commands/project/pack.ts';
import { submitCommand } from './commands/project/submit.ts';
import { EXIT, EXIT_WORDS } from './exit-codes.ts';
import { guardOutput } from './github-actions/guard-output.ts';
import { Interrupts } from './interrupts.ts';
import { printJson } from './json-lines/json-lines.ts';
import { VERSION } from './version.ts';
import { table } from './words.ts';

// `npm run` starts each script in the folder of its package. Paths count from where the person is.
const { npm_lifecycle_event, INIT_CWD } = process.env;
if (npm_lifecycle_event === 'expo-build' && INIT_CWD) process.chdir(INIT_CWD);

guardOutput();
const interrupts = new Interrupts();

const EXIT_CODES = `
Exit codes:
${table(
  Object.entries(EXIT).map(([name, code]) => [`  ${code}`, EXIT_WORDS[name as keyof typeof EXIT]]),
  Number.POSITIVE_INFINITY,
)}`;

const program = new Command('expo-build')
  .description('Builds Expo apps on the Macs of a Tartbeat farm.')
  .version(VERSION)
  .configureHelp({ optionDescription })
  .addHelpText('after', EXIT_CODES)
  .exitOverride()
  .showHelpAfterError('`expo-build --help` lists all commands, and `expo-build COMMAND --help` the options of one.');

const COMMANDS = {
  'In the folder of an app:': [
    initCommand(interrupts),
    submitCommand(interrupts),
    explainCommand(interrupts),
    packCommand(interrupts),
  ],
  'Builds:': [
    statusCommand(interrupts),
    listCommand(interrupts),
    watchCommand(interrupts),
    logsCommand(interrupts),
    downloadCommand(interrupts),
    cancelCommand(interrupts),
    retryCommand(interrupts),
    openCommand(interrupts),
    uploadCommand(interrupts),
  ],
  'The controller, a project, the farm:': [
    loginCommand(interrupts),
    versionCommand(interrupts),
    secretsCommand(interrupts),
    linksCommand(interrupts),
    workersCommand(interrupts),
  ],
};
for (const [group, commands] of Object.entries(COMMANDS))
  for (const command of commands) program.addCommand(withSettingsOf(program, command).helpGroup(group));
program.addCommand(withSettingsOf(program, githubActionCommand(interrupts)), { hidden: true });

// The program that reads our output may end before us, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error as Error);
}

/** Without `(default: false)` at each switch, and `(default: [])` at what may be given several times. */
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

function exitCodeOf(error: Error): number {
  if (error instanceof CommandEnd) return error.exitCode;
  // Commander has printed its own message. Help and version end that way too.
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
  const known = knownExitCode(error);
  const exitCode = known ?? EXIT.failed;
  const said = sentenceOf(error);
  const message = interrupts.signal.aborted ? 'stopped' : known === null ? (error.stack ?? said) : said;
  if (process.argv.includes('--json')) printJson({ type: 'error', message: said, exitCode });
  if (!(error instanceof CommanderError)) process.stderr.write(`expo-build: ${printableLines(message)}\n`);
  return exitCode;
}

function sentenceOf(error: Error): string {
  if (!(error instanceof ApiError)) return error.message;
  // In one line: a controller begins no line of ours.
  const message = printable(error.message);
  if (error.status === 401) return `${message}. Run \`expo-build login\``;
  return error.code === 'unavailable' ? `The controller was not reached: ${message}` : message;
}

/** Null: nobody has foreseen this error. */
function knownExitCode(error: Error): number | null {
  if (error instanceof CommandError) return error.exitCode;
  if (error instanceof CommanderError || error instanceof SourceError) return EXIT.usage;
  if (error instanceof ApiError) return error.status < 500 ? EXIT.usage : EXIT.unreachable;
  return interrupts.signal.aborted ? EXIT.detached : null;
}
