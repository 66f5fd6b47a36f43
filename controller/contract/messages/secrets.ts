/**
 * Defines stored secrets: variables and files of a project, which its builds in a pool receive. No message
 * brings a value back.
 */
import { z } from 'zod';
import { Id, SourcePath, secretFile, time, variableName, variableValue } from '../fields.ts';
import { POOLS_OF_SECRET_MAX } from '../sizes.ts';

/** With other values of these, the shell in the VM would not find its programs or files. */
const RESERVED = new Set(['PATH', 'HOME', 'SHELL', 'USER', 'TMPDIR', 'IFS', 'BASH_ENV', 'ENV']);

/** A variable has this name in the build. A file has it in the list alone. */
export const SecretName = variableName.refine(
  (name) => !RESERVED.has(name) && !name.startsWith('TARTBEAT_'),
  'is a variable that the VM sets itself; choose another name',
);

/**
 * Sets a stored secret: a variable by its `value`, or a `file` in base64 that the build finds at `path` in
 * its source. Unknown fields are refused, because a misspelt `pools` would mean all of them.
 */
export const SecretRequest = z
  .strictObject({
    value: variableValue.optional(),
    file: secretFile.optional(),
    path: SourcePath.optional(),
    /** Left out: the trusted pools that exist now and that the key reaches. A later pool gets nothing. */
    pools: z.array(Id).min(1).max(POOLS_OF_SECRET_MAX).optional(),
  })
  .refine(({ value, file }) => (value === undefined) !== (file === undefined), {
    path: ['value'],
    message: 'give exactly one of value and file',
  })
  .refine(({ file, path }) => (file === undefined) === (path === undefined), {
    path: ['path'],
    message: 'a file needs a path, and a value has none',
  });
export type SecretRequest = z.infer<typeof SecretRequest>;

export const SecretView = z.object({
  id: z.string(),
  name: z.string(),
  /** Null for a variable. */
  path: z.string().nullable(),
  pool: z.string(),
  /** Grows with each new value. */
  version: z.number().int(),
  setBy: z.object({ keyId: z.string(), name: z.string().nullable() }),
  setAt: time,
  /** The builds that received it last, newest first. */
  usedBy: z.array(z.string()),
  usedAt: time.nullable(),
});
export type SecretView = z.infer<typeof SecretView>;

/** Answers a request for the list, and a request that sets a secret: with the secrets that it has set. */
export const SecretList = z.object({ secrets: z.array(SecretView) });
export type SecretList = z.infer<typeof SecretList>;

export const SecretsRemoved = z.object({
  removed: z.array(z.object({ id: z.string(), name: z.string(), pool: z.string(), version: z.number().int() })),
});
export type SecretsRemoved = z.infer<typeof SecretsRemoved>;
