/**
 * Says what an argument of a guest command may be, and quotes it for a shell. Pure.
 *
 * Invariant: only this file quotes anything for a shell.
 */

/** vm-ssh-gate checks the same, written once more in sh; a test compares the two. */
export const ARGUMENT_KINDS = {
  id: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
  /** `BUILD-ATTEMPT`: the folder below `$HOME/.tartbeat`. */
  state: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}-[1-9][0-9]{0,6}$/,
  count: /^(0|[1-9][0-9]{0,15})$/,
  /** As the monitor reads it: a plain decimal number, with a fraction in tests. */
  seconds: /^[0-9]{1,5}([.][0-9]{1,3})?$/,
  /** As macOS's date takes it: MMDDhhmmYYYY.SS. */
  clock: /^[0-9]{12}[.][0-9]{2}$/,
  url: /^https?:\/\/[\][A-Za-z0-9:/._~%+=,-]{1,2048}$/,
  /** Below the source's root: `.` or `./…`, never up. */
  path: /^[.](\/(?![.][.](\/|$))[^/]*)*$/s,
  /** One step of such a path. */
  step: /^(?![.][.]$)[^/]+$/s,
  /** A file below the source's root or another folder, as SourcePath of the contract. */
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this refuses control characters
  place: /^(?!(.*\/)?\.{0,2}(\/|$))[^\x00-\x1f\x7f\\]{1,256}$/s,
} as const;
export type ArgumentKind = keyof typeof ARGUMENT_KINDS;

/** Thrown for an argument that no honest caller passes; the agent refuses such an assignment. */
export class GuestArgumentError extends Error {
  override name = 'GuestArgumentError';
}

/**
 * One build's place in the guest. Both parts become part of a path, so both are checked for what is safe in a
 * path.
 */
export interface AttemptKey {
  buildId: string;
  attempt: number;
}

/** Within single quotes only the quote itself is special. */
export function shellQuote(value: string): string {
  if (value.includes('\0')) throw new GuestArgumentError('a shell argument cannot contain a NUL character');
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

/** Throws unless each argument is of its kind. A last kind that ends in `...` may be repeated. */
export function checkArguments(command: string, kinds: readonly string[], args: readonly string[]): void {
  const last = kinds.at(-1);
  const enough = last?.endsWith('...') ? args.length >= kinds.length : args.length === kinds.length;
  if (!enough) throw new GuestArgumentError(`${command}: it takes ${kinds.join(' ') || 'no arguments'}`);
  for (const [index, value] of args.entries()) {
    const kind = (kinds[index] ?? last)!.replace('...', '') as ArgumentKind;
    if (!ARGUMENT_KINDS[kind].test(value) || value.includes('\0'))
      throw new GuestArgumentError(`${command}: not a ${kind}: ${JSON.stringify(value)}`);
  }
}

export const TOKEN = /^[\x21-\x7e]{1,2048}$/;
export const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

export function whole(value: number, what: string, min = 0, max = Number.MAX_SAFE_INTEGER): string {
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw new GuestArgumentError(`${what} must be a whole number from ${min} to ${max}, not ${value}`);
  return String(value);
}

export function seconds(value: number): string {
  if (!(value >= 0.1 && value <= 86_400)) throw new GuestArgumentError(`not an interval: ${value} s`);
  return String(Math.round(value * 1000) / 1000);
}

export const withoutSlash = (url: string): string => url.replace(/\/+$/, '');

/** A path below the source's root, as `find` printed it or as a glob's fixed part. */
export function sourcePath(path: string): string {
  const inside = path.startsWith('./') || path === '.' ? path : `./${path}`;
  if (path === '' || path.startsWith('/') || path.includes('\0') || !ARGUMENT_KINDS.path.test(inside))
    throw new GuestArgumentError(`not a path inside the source: ${JSON.stringify(path)}`);
  return inside;
}

/** `BUILD-ATTEMPT`: the folder below `$HOME/.tartbeat`. */
export function stateName({ buildId, attempt }: AttemptKey): string {
  if (!ARGUMENT_KINDS.id.test(buildId)) throw new GuestArgumentError(`not a build's id: ${JSON.stringify(buildId)}`);
  return `${buildId}-${whole(attempt, 'attempt', 1, 1_000_000)}`;
}
