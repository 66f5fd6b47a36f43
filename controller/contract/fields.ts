/** Defines the fields that several messages share: ids, hashes, paths, durations. */
import { z } from 'zod';
import { PLATFORMS } from './closed-lists.ts';
import { ATTEMPT_MAX, SECRET_FILE_MAX_BYTES, VARIABLE_VALUE_MAX } from './sizes.ts';
import { DAY_MS } from './units.ts';
import { UNPRINTABLE } from './unprintable.ts';

export const time = z.iso.datetime('must be an ISO time in UTC, such as 2027-12-31T00:00:00Z');

export const Id = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 characters of A-Z a-z 0-9 . _ -');

export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits');

/** How many VMs a worker runs at a time. Apple's licence allows two for each Mac. */
export const Slots = z.number().int().min(1).max(2, 'a Mac runs at most 2 VMs');

export const Platforms = z.array(z.enum(PLATFORMS)).min(1).max(PLATFORMS.length);

export const attempt = z.number().int().min(1).max(ATTEMPT_MAX);

export const text = (max: number) => z.string().max(max);

/** {@link UNPRINTABLE} characters, and halves of surrogate pairs. */
const NOT_IN_A_LINE = new RegExp(`[${UNPRINTABLE}\\p{Cs}]`, 'u');

/** One line that people read, such as the name of a branch. No character in it can disguise the others. */
export const line = (max: number) =>
  text(max)
    .min(1)
    .refine((value) => !NOT_IN_A_LINE.test(value), 'must be one line without control or direction characters');

/**
 * Makes such a line of any text: cut off, and without the characters that it must not have. Null if none is
 * left.
 */
export function asLine(value: string, max: number): string | null {
  const clean = value.replace(new RegExp(NOT_IN_A_LINE, 'gu'), '').trim().slice(0, max);
  // The cut may have left half of a pair.
  return clean.replace(/\p{Cs}$/u, '') || null;
}

/** Lines that people read. */
export const lines = (max: number) =>
  text(max).refine(
    (value) => !NOT_IN_A_LINE.test(value.replaceAll('\n', '')),
    'must not contain control or direction characters other than a newline',
  );

/** Text for a shell, which cannot take a NUL. */
export const shellText = (max: number) =>
  text(max).refine((value) => !value.includes('\0'), 'must not contain a NUL character');

export const variableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'must be a shell variable name');

export const variableValue = shellText(VARIABLE_VALUE_MAX);

/** The content of a file. */
export const secretFile = z
  .base64('must be the content in base64')
  .max(Math.ceil(SECRET_FILE_MAX_BYTES / 3) * 4, `must be at most ${SECRET_FILE_MAX_BYTES} bytes`);

export const bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export const durationMs = z
  .number()
  .int()
  .min(0)
  .max(30 * DAY_MS);

/** A relative path that stays below the root of the source. */
const pathBelow = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: this refuses control characters
    .refine((path) => !/[\x00-\x1f\x7f\\]/.test(path), 'must not contain control characters or backslashes')
    .refine(
      (path) => path.split('/').every((part) => part !== '' && part !== '.' && part !== '..'),
      'must be a relative path without empty, "." or ".." parts',
    );

export const ArtifactName = pathBelow(512);

/** A file or a folder of the source, such as `apps/mobile` or `.env.production`. */
export const SourcePath = pathBelow(256);

/**
 * Drops a malformed field instead of refusing the message, because a beat or a result must arrive in any
 * case.
 */
export const lenient = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);

export const count = z.number().int().min(0).max(1_000_000_000);
