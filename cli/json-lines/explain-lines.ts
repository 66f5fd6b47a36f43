/** Defines the lines of `explain --json`. */
import { z } from 'zod';

const text = z.string();

export const EXPLAIN_LINES = [
  /** The build that would run, or why it would be refused. A field that a refusal leaves unknown is null. */
  z.strictObject({
    type: z.literal('explained_build'),
    platform: z.enum(['ios', 'android']),
    root: text,
    appRoot: text,
    /** Null for the command of expo-build.json. */
    profile: text.nullable(),
    command: text.nullable(),
    /** The sentence with which the build would end. Null: it would be built. */
    refusal: text.nullable(),
    /** The profiles that the profile extends, the nearest first. */
    extends: z.array(text),
    engine: z.enum(['plugin', 'eas']).nullable(),
    because: text.nullable(),
    workflow: z.enum(['managed', 'generic']).nullable(),
    app: z
      .strictObject({
        id: text.nullable(),
        version: text.nullable(),
        buildNumber: z.number().nullable(),
        file: text,
      })
      .nullable(),
    manager: text.nullable(),
    install: text.nullable(),
    number: text.nullable(),
  }),
  z.strictObject({
    type: z.literal('explained_field'),
    of: z.enum(['build', 'submit']),
    field: text,
    value: z.json(),
    path: text,
    fate: z.enum(['used', 'mapped', 'ignored', 'refused']),
    says: text,
  }),
  z.strictObject({ type: z.literal('explained_tool'), name: text, version: text }),
  z.strictObject({ type: z.literal('explained_artifact'), glob: text, required: z.boolean() }),
  z.strictObject({
    type: z.literal('explained_secret'),
    name: text,
    is: z.enum(['given', 'stored', 'missing']),
    says: text,
  }),
  /** A line that the log of the build will have, or a remark on this explanation. */
  z.strictObject({ type: z.literal('explained_note'), message: text }),
  z.strictObject({ type: z.literal('explained_difference'), message: text }),
  /** The submission that a store would get. */
  z.strictObject({
    type: z.literal('explained_submission'),
    profile: text,
    refusal: text.nullable(),
    options: z.json(),
  }),
] as const;
