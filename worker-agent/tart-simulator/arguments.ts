/**
 * Reads command lines as Tart reads them, and refuses them in Tart's words, which are those of Swift's
 * argument parser. Pure: it takes strings, and answers with a value or throws a `UsageError`.
 */
import { UsageError } from './failure.ts';

export interface Positional {
  name: string;
  help: string;
  optional?: boolean;
  /** Takes all remaining words, at least one. */
  repeating?: boolean;
  /** The words after this argument belong to another program, so they are not read. */
  passesOnTheRest?: boolean;
}

export interface Option {
  /** With dashes, the long name first: `['--quiet', '-q']`. */
  names: readonly [string, ...string[]];
  help: string;
  /** The name of the option's value. An option without a value is a flag. */
  value?: string;
  /** The value is a whole number from 0 to this. */
  max?: number;
  oneOf?: readonly string[];
}

export interface Grammar {
  name: string;
  overview: string;
  positionals: readonly Positional[];
  options: readonly Option[];
}

export class Arguments {
  readonly positionals: readonly string[];
  readonly #options: ReadonlyMap<string, readonly string[]>;

  constructor(positionals: readonly string[], options: ReadonlyMap<string, readonly string[]>) {
    this.positionals = positionals;
    this.#options = options;
  }

  /** The word at a place that the grammar requires. */
  word(index: number): string {
    return this.positionals[index]!;
  }

  has(name: string): boolean {
    return this.#options.has(name);
  }

  value(name: string): string | undefined {
    return this.#options.get(name)?.at(-1);
  }

  number(name: string, otherwise: number): number {
    const value = this.value(name);
    return value === undefined ? otherwise : Number(value);
  }
}

const HELP: Option = { names: ['--help', '-h'], help: 'Show help information.' };

/** Throws `UsageError`. `--help` is reported as an option like any other. */
export function parseArguments(words: readonly string[], grammar: Grammar): Arguments {
  const positionals: string[] = [];
  const options = new Map<string, string[]>();
  const known = [...grammar.options, HELP];
  const rest = [...words];
  let onlyWords = false;
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (onlyWords || !word.startsWith('-') || word === '-') {
      positionals.push(word);
      if (grammar.positionals[positionals.length - 1]?.passesOnTheRest) onlyWords = true;
      continue;
    }
    if (word === '--') {
      onlyWords = true;
      continue;
    }
    const flags = joinedFlags(word, known);
    if (flags) {
      rest.unshift(...flags);
      continue;
    }
    const [name, attached] = splitOnce(word, '=');
    const option = known.find((candidate) => candidate.names.includes(name));
    if (!option) throw new UsageError(`Unknown option '${name}'${suggestion(name, known)}`);
    const value = option.value === undefined ? '' : (attached ?? rest.shift());
    if (value === undefined || (attached === undefined && option.value !== undefined && value.startsWith('--')))
      throw new UsageError(`Missing value for '${label(option)}'`, { help: `${label(option)}  ${option.help}` });
    checkValue(option, value);
    options.set(option.names[0], [...(options.get(option.names[0]) ?? []), value]);
  }
  if (!options.has('--help')) checkCount(positionals, grammar);
  return new Arguments(positionals, options);
}

/** `-it` is `-i -t`. */
function joinedFlags(word: string, known: readonly Option[]): string[] | undefined {
  const flags = /^-\w{2,}$/.test(word) ? [...word.slice(1)].map((letter) => `-${letter}`) : [];
  const areKnown = flags.every((flag) => known.some(({ names, value }) => names.includes(flag) && value === undefined));
  return flags.length > 0 && areKnown ? flags : undefined;
}

export function usage(grammar: Grammar): string {
  const words = grammar.positionals.map((positional) => {
    const word = `<${positional.name}>${positional.repeating ? ' ...' : ''}`;
    return positional.optional ? `[${word}]` : word;
  });
  return ['tart', grammar.name, ...words, ...grammar.options.map((option) => `[${label(option)}]`)].join(' ');
}

export function help(grammar: Grammar): string {
  const row = (left: string, right: string) => `  ${left.padEnd(23)} ${right}`;
  const section = (title: string, rows: string[]) => (rows.length > 0 ? `\n\n${title}:\n${rows.join('\n')}` : '');
  return (
    `OVERVIEW: ${grammar.overview}\n\nUSAGE: ${usage(grammar)}` +
    section(
      'ARGUMENTS',
      grammar.positionals.map((positional) => row(`<${positional.name}>`, positional.help)),
    ) +
    section(
      'OPTIONS',
      [...grammar.options, HELP].map((option) =>
        row([...option.names.slice(1), label(option)].join(', '), option.help),
      ),
    )
  );
}

function checkValue(option: Option, value: string): void {
  const numeric = option.max === undefined || (/^\d+$/.test(value) && Number(value) <= option.max);
  if (numeric && (!option.oneOf || option.oneOf.includes(value))) return;
  const choices = option.oneOf ? `. Please provide one of ${option.oneOf.map((o) => `'${o}'`).join(' and ')}.` : '';
  throw new UsageError(`The value '${value}' is invalid for '${label(option)}'${choices}`, {
    help: `${label(option)}  ${option.help}`,
  });
}

function checkCount(words: readonly string[], { positionals }: Grammar): void {
  const missing = positionals.slice(words.length).find((positional) => !positional.optional);
  if (missing)
    throw new UsageError(`Missing expected argument '<${missing.name}>${missing.repeating ? ' ...' : ''}'`, {
      help: `<${missing.name}>  ${missing.help}`,
    });
  if (positionals.at(-1)?.repeating || positionals.at(-1)?.passesOnTheRest) return;
  const surplus = words.slice(positionals.length).map((word) => `'${word}'`);
  if (surplus.length === 1) throw new UsageError(`Unexpected argument ${surplus[0]}`);
  if (surplus.length > 1) throw new UsageError(`${surplus.length} unexpected arguments: ${surplus.join(', ')}`);
}

function label(option: Option): string {
  return option.value === undefined ? option.names[0] : `${option.names[0]} <${option.value}>`;
}

function suggestion(name: string, known: readonly Option[]): string {
  const nearest = known
    .flatMap((option) => option.names)
    .filter((candidate) => candidate.startsWith('--'))
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return nearest && nearest.distance < 4 ? `. Did you mean '${nearest.candidate}'?` : '';
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++)
      current[column] = Math.min(
        previous[column]! + 1,
        current[column - 1]! + 1,
        previous[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1),
      );
    previous = current;
  }
  return previous[b.length]!;
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
