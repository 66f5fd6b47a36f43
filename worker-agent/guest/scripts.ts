/**
 * Says which guest scripts a VM must have, and how a command is called in the scripts that it has.
 *
 * The scripts are the files of vm-image/guest/. Their version is a number and a hash over the files, as in
 * `1-0123456789abcdef`. The number is raised when the table of commands changes. The hash changes with every
 * byte.
 *
 * A VM with a free key gets the scripts of this agent, unless its image has just these. With a key that is
 * tied to vm-ssh-gate nothing can be brought into a VM. Then the agent uses the scripts of the image, if
 * their number is that of its own scripts or the one before.
 *
 * Invariant: all commands of an attempt run with one version, that of its first command. The two exceptions
 * stand in steps/guest-scripts.ts.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VM_IMAGE } from '../vm-image.ts';
import { ARGUMENT_KINDS } from './arguments.ts';

/** A number, and the first 16 digits of a SHA-256. */
export const VERSION = /^[1-9][0-9]{0,5}-[0-9a-f]{16}$/;

export interface GuestScripts {
  version: string;
  folder: string;
  /** By `FILE SUBCOMMAND`, the kinds of the arguments. A last one that ends in `...` may be repeated. */
  table: ReadonlyMap<string, readonly string[]>;
}

/** The key and the scripts that a VM was seen to have. */
export interface ScriptsSeen {
  /** The key is tied to vm-ssh-gate. */
  tied: boolean;
  versions: readonly string[];
}

/** The scripts of one VM, for all connections to it. `version` is null until one has been chosen. */
export interface VmScripts {
  seen: ScriptsSeen | null;
  version: string | null;
}

export type ScriptsChoice =
  | { choice: 'use' | 'install'; version: string }
  /** Tied to scripts that this agent does not speak: they are too old or too new. */
  | { choice: 'older' }
  | { choice: 'newer' };

let own: GuestScripts | null = null;

/** The scripts that came with this agent. */
export function ownScripts(): GuestScripts {
  own ??= readScripts(join(VM_IMAGE, 'guest'));
  return own;
}

/** Throws if the folder does not hold guest scripts. */
export function readScripts(folder: string): GuestScripts {
  const version = readFileSync(join(folder, 'version'), 'utf8').trim();
  if (!VERSION.test(version)) throw new Error(`${folder}/version holds no version: ${JSON.stringify(version)}`);
  return { version, folder, table: parseTable(readFileSync(join(folder, 'table'), 'utf8')) };
}

export function parseTable(text: string): Map<string, readonly string[]> {
  const rows = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const table = new Map<string, readonly string[]>();
  for (const row of rows) {
    const [file, subcommand, ...kinds] = row.split(/\s+/);
    for (const kind of kinds)
      if (!(kind.replace('...', '') in ARGUMENT_KINDS)) throw new Error(`the table names an unknown kind: ${row}`);
    table.set(`${file} ${subcommand}`, kinds);
  }
  return table;
}

export const numberOf = (version: string): number => Number(version.split('-')[0]);

/** True for versions whose commands this agent knows. */
export const speaks = (version: string, mine: string = ownScripts().version): boolean =>
  VERSION.test(version) && [0, 1].includes(numberOf(mine) - numberOf(version));

/** Chooses the scripts for a VM by those that it was seen to have. */
export function chooseScripts({ tied, versions }: ScriptsSeen, mine: string = ownScripts().version): ScriptsChoice {
  if (versions.includes(mine)) return { choice: 'use', version: mine };
  if (!tied) return { choice: 'install', version: mine };
  const spoken = versions.find((version) => speaks(version, mine));
  if (spoken) return { choice: 'use', version: spoken };
  return { choice: versions.some((version) => numberOf(version) > numberOf(mine)) ? 'newer' : 'older' };
}

/**
 * The commands that differ in the number before, by their names in this number. Each gives its name and
 * arguments there, or is null if it is missing there. Empty while no command of this agent differs.
 */
const BEFORE: Readonly<Record<string, ((args: readonly string[]) => readonly [string, ...string[]]) | null>> = {
  // Number 3 cannot clean a VM that is to be kept.
  'kept clean': null,
};

const isBefore = (version: string) => numberOf(version) < numberOf(ownScripts().version);

/** True if scripts of this version have no such command. The agent must then do without it. */
export const isMissingIn = (version: string, name: string): boolean => isBefore(version) && BEFORE[name] === null;

/**
 * The name and the arguments of a command in a version that this agent speaks. Throws if it is missing there.
 */
export function inWordsOf(version: string, name: string, args: readonly string[]): readonly [string, ...string[]] {
  if (!speaks(version)) throw new Error(`this agent does not speak guest scripts ${version}`);
  if (isMissingIn(version, name)) throw new Error(`guest scripts ${version} have no command ${name}`);
  const before = isBefore(version) ? BEFORE[name] : undefined;
  return before ? before(args) : [name, ...args];
}
