/** Reads the values of flags that are more than one text. Pure. */
import { KEEP_VM_MAX_MS, KEEP_VM_MIN_MS, TIMEOUT_MINIMA } from '#contract';
import { CommandError } from '../command-error.ts';

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000 };

/** For a flag that may be given again. */
export const several = (value: string, before: string[]): string[] => [...before, value];

interface Bounds {
  minMs: number;
  maxMs?: number;
}

/**
 * `flag=90s`, `flag=30m` or `flag=2h`. Checked here, because the controller would give the bounds in
 * milliseconds.
 */
function durationMs(text: string, flag: string, { minMs, maxMs = Number.POSITIVE_INFINITY }: Bounds): number {
  const [, count, unit] = /^(\d{1,9})([smh])$/.exec(text) ?? [];
  if (count === undefined) throw new CommandError(`${flag}: ${text} is no duration. Give one such as 90s, 30m or 2h.`);
  const ms = Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  if (ms < minMs) throw new CommandError(`\`${flag}=${text}\` is too short. Give at least ${asTime(minMs)}.`);
  if (ms > maxMs) throw new CommandError(`\`${flag}=${text}\` is too long. Give at most ${asTime(maxMs)}.`);
  return ms;
}

/** Whole seconds as a flag has them: `30s`, `1m` or `24h`. */
function asTime(ms: number): string {
  const unit = (['h', 'm'] as const).find((one) => ms % UNIT_MS[one] === 0) ?? 's';
  return `${ms / UNIT_MS[unit]}${unit}`;
}

export function wholeNumber(text: string, flag: string): number {
  if (/^-?\d{1,9}$/.test(text)) return Number(text);
  throw new CommandError(`${flag}: ${text} is no whole number. Give one such as 5.`);
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
  return durationMs(time, '--after-failure keep', { minMs: KEEP_VM_MIN_MS, maxMs: KEEP_VM_MAX_MS });
}

/** `build=90m`, by the names of the request without `TimeoutMs`. */
export function timeouts(texts: readonly string[]): Record<string, number> {
  const minima = new Map(
    Object.entries(TIMEOUT_MINIMA).map(([name, minMs]) => [name.replace(/TimeoutMs$/, ''), minMs]),
  );
  return Object.fromEntries(
    Object.entries(pairs(texts, '--timeout')).map(([name, time]) => {
      const minMs = minima.get(name);
      if (minMs === undefined)
        throw new CommandError(
          `\`--timeout ${name}\` is not known. Give one of ${[...minima.keys()].join(', ')}, such as build=90m.`,
        );
      return [`${name}TimeoutMs`, durationMs(time, `--timeout ${name}`, { minMs })];
    }),
  );
}
