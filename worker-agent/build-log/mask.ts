/**
 * Takes the secrets that a build was given out of its log before the log leaves this Mac. Every other byte
 * stays as it is. Pure.
 *
 * A secret is found as it is, and inside any base64 text at each of the three places that it can have there.
 * A secret of several lines is looked for line by line, because a log shows it that way. `***` stands in its
 * place, and overlapping secrets are hidden as one.
 *
 * Invariant: the output depends on the bytes alone, not on how they were cut into reads. So bytes that
 * may be the beginning of a secret are held back until the next bytes decide. `takenBytes` says how much of
 * the input has been dealt with, and a restarted agent reads on from there.
 */
import { secretValuesOf } from './env-of-older-clients.ts';

export const MASK = Buffer.from('***');
/** A shorter text would be found everywhere, so it is not treated as a secret. */
export const SECRET_MIN_BYTES = 8;
/** For one line of a file, because a certificate has lines such as `-----END` that say nothing. */
const FILE_LINE_MIN_BYTES = 16;
/** A longer text is looked for in pieces, so that long secrets cannot make each byte of log expensive. */
const NEEDLE_MAX_BYTES = 1024;
/** Fewer characters in a row are a coincidence, and tell little of a secret. */
const PIECE_MIN_CHARS = 6;

export interface Secrets {
  env: Readonly<Record<string, string>>;
  /** The variables of `env` that are secret. Undefined if nobody has said which are. */
  secretNames?: readonly string[] | undefined;
  /** By name; the contents are in base64. */
  secretFiles?: Readonly<Record<string, string>> | undefined;
  /** Further secrets. */
  others?: readonly string[];
}

const valuesOf = ({ env, secretNames, others = [] }: Secrets): Buffer[] =>
  [...secretValuesOf(env, secretNames), ...others].map((text) => Buffer.from(text));
const filesOf = ({ secretFiles = {} }: Secrets): Buffer[] =>
  Object.values(secretFiles).map((content) => Buffer.from(content, 'base64'));

/** The secrets as the build has them. */
export const secretTextsOf = (secrets: Secrets): Buffer[] => [...valuesOf(secrets), ...filesOf(secrets)];

/** Every text that must not be seen in the log. */
export function needlesOf(secrets: Secrets): Buffer[] {
  const found = new Map<string, Buffer>();
  const add = (text: Buffer) => {
    for (let at = 0; at < text.length; at += NEEDLE_MAX_BYTES) {
      const from = Math.max(0, Math.min(at, text.length - NEEDLE_MAX_BYTES));
      const needle = text.subarray(from, from + NEEDLE_MAX_BYTES);
      if (needle.length >= SECRET_MIN_BYTES) found.set(needle.toString('latin1'), needle);
    }
  };
  const addText = (text: Buffer, lineMinBytes: number) => {
    for (const line of linesOf(text)) if (line.length >= lineMinBytes) add(line);
    if (text.length >= SECRET_MIN_BYTES) for (const form of base64Forms(text)) add(form);
  };
  for (const value of valuesOf(secrets)) addText(value, SECRET_MIN_BYTES);
  for (const content of filesOf(secrets)) addText(content, FILE_LINE_MIN_BYTES);
  return [...found.values()];
}

export function linesOf(text: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start <= text.length; ) {
    const end = text.indexOf(0x0a, start);
    const line = text.subarray(start, end === -1 ? text.length : end);
    lines.push(line.at(-1) === 0x0d ? line.subarray(0, -1) : line);
    start = end === -1 ? text.length + 1 : end + 1;
  }
  return lines;
}

/**
 * How the secret looks inside a base64 text, after 0, 1 and 2 other bytes, in both alphabets. Each form has
 * only the characters that the secret alone decides.
 */
function base64Forms(secret: Buffer): Buffer[] {
  return [0, 1, 2].flatMap((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), secret]).toString('base64');
    const sure = encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + secret.length) * 8) / 6));
    const url = sure.replaceAll('+', '-').replaceAll('/', '_');
    return [...new Set([sure, url])].map((form) => Buffer.from(form));
  });
}

/** A whole text with its secrets taken out. */
export function maskText(needles: readonly Buffer[], text: string): string {
  const mask = new LogMask(needles);
  return Buffer.concat([mask.push(Buffer.from(text)), mask.end()]).toString('utf8');
}

/** Takes out pieces of secrets too: for a text that was cut out of a log in which the secrets still stood. */
export function maskPieces(needles: readonly Buffer[], text: string): string {
  const whole = maskText(needles, text);
  const texts = needles.map((needle) => needle.toString('utf8'));
  const isPiece = (piece: string) => texts.some((secret) => secret.includes(piece));
  let out = '';
  for (let at = 0; at < whole.length; ) {
    let end = at + PIECE_MIN_CHARS;
    if (end > whole.length || !isPiece(whole.slice(at, end))) {
      out += whole[at++];
      continue;
    }
    while (end < whole.length && isPiece(whole.slice(at, end + 1))) end++;
    out += MASK;
    at = end;
  }
  return out;
}

export class LogMask {
  /** The needles by their first two bytes, the longest first. */
  readonly #byStart: (Buffer[] | undefined)[] = [];
  /** For each byte, whether a needle begins with it. */
  readonly #first = new Uint8Array(256);
  readonly #empty: boolean;
  #held = Buffer.alloc(0);
  #takenBytes: number;

  /** `takenBytes` is how much of the input an earlier mask has dealt with. */
  constructor(needles: readonly Buffer[], takenBytes = 0) {
    this.#takenBytes = takenBytes;
    this.#empty = needles.length === 0;
    for (const needle of [...needles].sort((a, b) => b.length - a.length)) {
      const start = (needle[0]! << 8) | needle[1]!;
      (this.#byStart[start] ??= []).push(needle);
      this.#first[needle[0]!] = 1;
    }
  }

  /** How many bytes of the input have come out or were masked. */
  get takenBytes(): number {
    return this.#takenBytes;
  }
  /** The offset in the input at which the next `push` belongs. */
  get readBytes(): number {
    return this.#takenBytes + this.#held.length;
  }

  push(bytes: Buffer): Buffer {
    return this.#run(bytes, false);
  }

  /** Nothing follows, so the bytes that were held back come out. */
  end(): Buffer {
    return this.#run(Buffer.alloc(0), true);
  }

  #run(bytes: Buffer, last: boolean): Buffer {
    if (this.#empty) {
      this.#takenBytes += bytes.length;
      return bytes;
    }
    const input = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    const out: Buffer[] = [];
    let plainFrom = 0;
    let at = 0;
    while (at < input.length) {
      if (this.#first[input[at]!] === 0) {
        at++;
        continue;
      }
      const end = this.#maskedUntil(input, at, last);
      if (end === at) {
        at++;
        continue;
      }
      if (end === null) break;
      out.push(input.subarray(plainFrom, at), MASK);
      at = plainFrom = end;
    }
    out.push(input.subarray(plainFrom, at));
    this.#held = Buffer.from(input.subarray(at));
    this.#takenBytes += at;
    return out.length === 1 ? out[0]! : Buffer.concat(out);
  }

  /** Where the hidden stretch from `at` ends: `at` if none begins there, null if the next bytes decide. */
  #maskedUntil(input: Buffer, at: number, last: boolean): number | null {
    let end = at;
    for (let start = at; start === at || start < end; start++) {
      if (this.#first[input[start]!] === 0) continue;
      const length = this.#matchAt(input, start, last);
      if (length === null) return null;
      end = Math.max(end, start + length);
    }
    return end;
  }

  /** The length of the longest needle here, 0 for none, null if the input ends too early to tell. */
  #matchAt(input: Buffer, at: number, last: boolean): number | null {
    const left = input.length - at;
    if (left < 2) return last ? 0 : null;
    const needles = this.#byStart[(input[at]! << 8) | input[at + 1]!];
    if (!needles) return 0;
    for (const needle of needles) {
      const compared = Math.min(needle.length, left);
      if (input.compare(needle, 0, compared, at, at + compared) !== 0) continue;
      if (compared === needle.length) return needle.length;
      if (!last) return null;
    }
    return 0;
  }
}
