/**
 * Reads vm-image/installation, the table of the commands that install or set up something on a Mac.
 *
 * Invariant: a name that the table lacks throws, and every other name gives one command.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VM_IMAGE } from '../vm-image.ts';

/** Every command of the table, by its name. */
export const INSTALLATION: ReadonlyMap<string, string> = new Map(
  readFileSync(join(VM_IMAGE, 'installation'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name, command] = line.split('\t');
      return [name!, command!];
    }),
);

/** The command of this name. */
export function commandOf(name: string): string {
  const command = INSTALLATION.get(name);
  if (command === undefined) throw new Error(`vm-image/installation has no command ${name}`);
  return command;
}

/** The commands for a sentence: "`a`, `b` and `c`". */
export function inWords(...names: string[]): string {
  const quoted = names.map((name) => `\`${commandOf(name)}\``);
  return quoted.length === 1 ? quoted[0]! : `${quoted.slice(0, -1).join(', ')} and ${quoted.at(-1)}`;
}
