/** Holds every command to what people and scripts expect of each: an example, and `--json`. */
import { globSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { Interrupts } from '../../cli/interrupts.ts';

const FOLDER = resolve(import.meta.dirname, '../../cli/commands');

// Made without its constructor, which would take Ctrl-C from the run of the tests.
const interrupts: Interrupts = Object.create(Interrupts.prototype);

const made = await Promise.all(
  globSync('*/*.ts', { cwd: FOLDER }).map(async (file) => {
    const module = (await import(join(FOLDER, file))) as Record<string, unknown>;
    const makers = Object.entries(module).filter(([name]) => /^[a-z]\w*Command$/.test(name));
    return makers.map(([, make]) => (make as (interrupts: Interrupts) => Command)(interrupts));
  }),
);

/** A command that has others does nothing by itself. */
const leavesOf = (command: Command, before = ''): [name: string, Command][] => {
  const name = `${before}${command.name()}`;
  return command.commands.length === 0
    ? [[name, command]]
    : command.commands.flatMap((child) => leavesOf(child, `${name} `));
};

// Nobody types `github-action`: action.yml runs it.
const leaves = made
  .flat()
  .flatMap((command) => leavesOf(command))
  .filter(([name]) => name !== 'github-action');

const helpOf = (command: Command): string => {
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) });
  command.outputHelp();
  return help;
};

test.each(leaves)('%s has an example and --json', (name, command) => {
  const help = helpOf(command);
  expect(help).toMatch(new RegExp(`Examples?:(\\n.*)*\\n {2}expo-build ${name}`));
  expect(help).toContain('--json');
});

test('all commands were found', () => {
  expect(leaves.length).toBeGreaterThan(12);
});
