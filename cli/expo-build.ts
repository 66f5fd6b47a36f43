#!/usr/bin/env node
/**
 * Runs the command line for people who build apps.
 *
 * Invariant: the exit code is set here alone. exit-codes.ts says what each means.
 */
import { Command, CommanderError } from 'commander';
import { SourceError } from '../client/packing/source-error.ts';
import { printableLines } from '../client/printable.ts';
import { packCommand } from './commands/pack.ts';
import { EXIT } from './exit-codes.ts';
import { printJson } from './json-lines.ts';
import { VERSION } from './version.ts';

// `npm run` starts each script in the folder of its package. Paths count from where the person is.
const { npm_lifecycle_event, INIT_CWD } = process.env;
if (npm_lifecycle_event === 'expo-build' && INIT_CWD) process.chdir(INIT_CWD);

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());

const program = new Command('expo-build')
  .description('Builds Expo apps on the Macs of a Tartbeat farm.')
  .version(VERSION)
  .exitOverride()
  .showHelpAfterError('`expo-build --help` lists all commands, and `expo-build COMMAND --help` the options of one.');

for (const command of [packCommand(() => stop.signal)]) program.addCommand(command.copyInheritedSettings(program));

// The program that reads our output may end before us, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error as Error);
}

function exitCodeOf(error: Error): number {
  // Commander has printed its own message. Help and version end that way too.
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
  const exitCode =
    error instanceof CommanderError || error instanceof SourceError
      ? EXIT.usage
      : stop.signal.aborted
        ? EXIT.detached
        : EXIT.failed;
  const isKnown = exitCode !== EXIT.failed;
  const message = stop.signal.aborted ? 'stopped' : isKnown ? error.message : (error.stack ?? error.message);
  if (process.argv.includes('--json')) printJson({ type: 'error', message: error.message, exitCode });
  if (!(error instanceof CommanderError)) process.stderr.write(`expo-build: ${printableLines(message)}\n`);
  return exitCode;
}
