/** Holds every command to what people and scripts expect of each: an example, and `--json`. */
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { commandLeaves } from './factories/command-leaves.ts';

const leaves = await commandLeaves();

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
