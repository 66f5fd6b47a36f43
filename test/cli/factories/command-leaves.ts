/** Lists all commands of `expo-build` that people type, each with its whole name, such as `secrets set`. */
import { globSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { Interrupts } from '../../../cli/interrupts.ts';

const FOLDER = resolve(import.meta.dirname, '../../../cli/commands');

// Made without its constructor, which would take Ctrl-C from the run of the tests.
const interrupts: Interrupts = Object.create(Interrupts.prototype);

/** A command with subcommands is left out, because it does nothing by itself. */
const leavesOf = (command: Command, before = ''): [name: string, Command][] => {
  const name = `${before}${command.name()}`;
  return command.commands.length === 0
    ? [[name, command]]
    : command.commands.flatMap((child) => leavesOf(child, `${name} `));
};

export async function commandLeaves(): Promise<[name: string, Command][]> {
  const made = await Promise.all(
    globSync('*/*.ts', { cwd: FOLDER }).map(async (file) => {
      const module = (await import(join(FOLDER, file))) as Record<string, unknown>;
      const makers = Object.entries(module).filter(([name]) => /^[a-z]\w*Command$/.test(name));
      return makers.map(([, make]) => (make as (interrupts: Interrupts) => Command)(interrupts));
    }),
  );
  const leaves = made.flat().flatMap((command) => leavesOf(command));
  // Nobody types `github-action`: action.yml runs it.
  return leaves.filter(([name]) => name !== 'github-action');
}
