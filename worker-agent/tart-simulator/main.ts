/**
 * Runs the Tart simulator: Tart's command line, with VMs that are processes. It needs no root. It is written
 * for Linux and macOS, and has run only on Linux. It refuses the commands that it does not simulate, by their
 * names.
 *
 * No other module prints errors or sets the exit code.
 */
import { type Arguments, help, parseArguments, usage } from './arguments.ts';
import type { Command } from './command.ts';
import { playCommandFault } from './command-faults.ts';
import { RuntimeError, UsageError } from './failure.ts';
import { collectGarbage } from './home/vm-store.ts';
import { tartHome } from './home/vms.ts';
import { sweepRuns } from './processes/runs.ts';

const VERSION = '2.40.1';

/** Loaded on demand, because an agent calls often, and each call needs only one. */
const COMMANDS: Record<string, () => Promise<Command>> = {
  create: async () => (await import('./commands/create.ts')).create,
  clone: async () => (await import('./commands/clone.ts')).clone,
  run: async () => (await import('./commands/run.ts')).run,
  set: async () => (await import('./commands/set.ts')).set,
  get: async () => (await import('./commands/get.ts')).get,
  list: async () => (await import('./commands/list.ts')).list,
  ip: async () => (await import('./commands/ip.ts')).ip,
  exec: async () => (await import('./commands/exec.ts')).exec,
  pull: async () => (await import('./commands/pull.ts')).pull,
  push: async () => (await import('./commands/push.ts')).push,
  prune: async () => (await import('./commands/prune.ts')).prune,
  fqn: async () => (await import('./commands/fqn.ts')).fqn,
  rename: async () => (await import('./commands/rename.ts')).rename,
  stop: async () => (await import('./commands/stop.ts')).stop,
  delete: async () => (await import('./commands/delete.ts')).deleteCommand,
  suspend: async () => (await import('./commands/suspend.ts')).suspend,
};
const NOT_SIMULATED = ['login', 'logout', 'import', 'export'];
const KEEPS_GARBAGE = ['clone', 'pull'];

async function main([name, ...words]: string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') return print(overview());
  if (name === '--version') return print(VERSION);
  // For the reaper and for host/df; Tart has no such commands.
  if (name === 'sweep-runs') return sweep();
  if (name === 'host-df') return print((await import('./host/df.ts')).df(tartHome(), words));
  if (name === 'help') return words.length > 0 ? main([words[0]!, '--help']) : print(overview());
  if (NOT_SIMULATED.includes(name)) return fail(`the Tart simulator does not do "tart ${name}"`, 1);
  const command = await COMMANDS[name]?.();
  if (!command) {
    const what = name.startsWith('-') ? `Unknown option '${name}'` : `Unexpected argument '${name}'`;
    return fail(usageText(new UsageError(what)), 64);
  }
  try {
    const args = parseArguments(words, command);
    if (args.has('--help')) return print(help(command));
    return await start(command, args);
  } catch (error) {
    if (error instanceof UsageError) return fail(usageText(error, command), 64);
    if (error instanceof RuntimeError) return fail(error.message, error.exitCode);
    return fail(`Error: ${(error as Error).message}`, 1);
  }
}

async function start(command: Command, args: Arguments): Promise<number> {
  const home = tartHome();
  sweepRuns(home);
  if (!KEEPS_GARBAGE.includes(command.name)) collectGarbage(home);
  command.validate?.(args, home);
  await playCommandFault(command.name, args, home);
  await command.run(args, home);
  return 0;
}

function sweep(): number {
  sweepRuns(tartHome());
  return 0;
}

function usageText(error: UsageError, command?: Command): string {
  const shown = error.rootUsage ? undefined : command;
  return [
    `Error: ${error.message}`,
    ...(error.help ? [`Help:  ${error.help}`] : []),
    `Usage: ${shown ? usage(shown) : 'tart <subcommand>'}`,
    `  See 'tart ${shown ? `${shown.name} ` : ''}--help' for more information.`,
  ].join('\n');
}

function overview(): string {
  const names = Object.keys(COMMANDS).map((name) => `  ${name}`);
  return [
    'OVERVIEW: Tart simulator: VMs that are processes of this machine',
    '\nUSAGE: tart <subcommand>',
    '\nOPTIONS:\n  --version               Show the version.\n  -h, --help              Show help information.',
    `\nSUBCOMMANDS:\n${names.join('\n')}`,
    "\n  See 'tart help <subcommand>' for detailed help.",
  ].join('\n');
}

function print(text: string): number {
  console.log(text);
  return 0;
}

function fail(text: string, exitCode: number): number {
  console.error(text);
  return exitCode;
}

process.title = ['tart', ...process.argv.slice(2)].join(' '); // so that `ps` shows `tart run NAME`
const exitCode = await main(process.argv.slice(2));
process.exitCode ||= exitCode;
