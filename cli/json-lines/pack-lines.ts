/** Defines the lines of `pack --list --json`. */
import { z } from 'zod';

const path = z.string();
const bytes = z.number().int().nonnegative();

export const PACK_LINES = [
  /** The project that is packed. */
  z.strictObject({
    type: z.literal('source'),
    root: path,
    appRoot: path,
    decidedBy: z.enum(['git', 'easignore', 'gitignore_files']),
    files: z.number().int(),
    sizeBytes: bytes,
  }),
  /** A file of the archive. */
  z.strictObject({
    type: z.literal('file'),
    path,
    kind: z.enum(['file', 'link']),
    sizeBytes: bytes,
    difference: z
      .enum([
        'brought_by_easignore',
        'brought_by_include',
        'tracked_although_ignored',
        'kept_by_negated_rule',
        'in_nested_repository',
      ])
      .nullable(),
    rule: z.string().nullable(),
  }),
  /** Something that does not go along. A folder ends with a slash. */
  z.strictObject({
    type: z.literal('left_out'),
    path,
    why: z.enum(['ignored', 'easignore', 'secret', 'always', 'apple_double', 'deleted', 'not_checked_out', 'no_file']),
  }),
  z.strictObject({
    type: z.literal('secret_file'),
    path,
    sizeBytes: bytes,
    namedBy: z.enum(['flag', 'expo-build.json', 'credentials.json']),
  }),
  /** An ignored file that a build may need. */
  z.strictObject({ type: z.literal('not_sent'), path, flag: z.string() }),
  z.strictObject({ type: z.literal('warning'), code: z.string(), path: path.nullable(), message: z.string() }),
  z.strictObject({ type: z.literal('large_folder'), path, sizeBytes: bytes }),
] as const;
