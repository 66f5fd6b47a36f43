/** Reads the values of flags that are more than one text. Pure. */
import { TIMEOUT_MINIMA } from '#contract';
import { CommandError } from '../command-error.ts';

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000 };

/** For a flag that may be given again. */
export const several = (value: string, before: string[]): string[] => [...before, value];

/** `90s`, `30m` or `2h`. */
export function durationMs(text: string, flag: string): number {
  const [, count, unit] = /^(\d{1,9})([smh])$/.exec(text) ?? [];
  if (count === undefined) throw new CommandError(`${flag}: ${text} is no duration. Give one such as 90s, 30m or 2h.`);
  return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
}

export function wholeNumber(text: string, flag: string): number {
  if (/^-?\d{1,9}$/.test(text)) return Number(text);
  throw new CommandError(`${flag}: ${text} is no whole number.`);
}

/** Pairs such as `NAME=VALUE`. The value may be empty, and may have further `=` in it. */
export function pairs(texts: readonly string[], flag: string): Record<string, string> {
  const all: Record<string, string> = Object.create(null);
  for (const text of texts) {
    const end = text.indexOf('=');
    if (end <= 0) throw new CommandError(`${flag} ${text}: write a name, = and a value.`);
    const name = text.slice(0, end);
    if (name in all) throw new CommandError(`${flag}: ${name} is given twice. Give it once.`);
    all[name] = text.slice(end + 1);
  }
  return { ...all };
}

/** The values of secret variables, from the environment, because others can see a command line. */
export function secretVariables(
  names: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => {
      if (name.includes('='))
        throw new CommandError(
          `--secret-env takes a name alone. Set the variable ${name.slice(0, name.indexOf('='))} where expo-build runs, because everybody on this machine can read its command line.`,
        );
      const value = environment[name];
      if (value === undefined)
        throw new CommandError(`--secret-env ${name}: there is no such variable here. Set it, or remove the flag.`);
      return [name, value];
    }),
  );
}

/** `keep=30m`. */
export function keepMs(text: string | undefined): number | null {
  if (text === undefined) return null;
  const [, time] = /^keep=(.*)$/.exec(text) ?? [];
  if (time === undefined)
    throw new CommandError(`--after-failure: ${text} is not known. Give keep=TIME, such as keep=30m.`);
  return durationMs(time, '--after-failure keep');
}

/** `build=90m`, by the names of the request without `TimeoutMs`. */
export function timeouts(texts: readonly string[]): Record<string, number> {
  const names = Object.keys(TIMEOUT_MINIMA).map((name) => name.replace(/TimeoutMs$/, ''));
  return Object.fromEntries(
    Object.entries(pairs(texts, '--timeout')).map(([name, time]) => {
      if (!names.includes(name))
        throw new CommandError(`--timeout ${name}: is not known. There are ${names.join(', ')}.`);
      return [`${name}TimeoutMs`, durationMs(time, `--timeout ${name}`)];
    }),
  );
}
