/** Defines the lines of `init --json`. */
import { z } from 'zod';

const text = z.string();
const platform = z.enum(['ios', 'android']);
const native = z.enum(['own', 'made_by_prebuild', 'none']);

export const INIT_LINES = [
  z.strictObject({
    type: z.literal('found_project'),
    root: text,
    appRoot: text,
    /** The name in package.json. */
    name: text.nullable(),
    isExpo: z.boolean(),
    manager: text.nullable(),
    lockFile: text.nullable(),
    workspaceRoot: text.nullable(),
    /** Names of the profiles of eas.json. Null: there is no eas.json, or it cannot be read. */
    profiles: z.array(text).nullable(),
    ios: native,
    android: native,
  }),
  /** Something that a first build lacks. */
  z.strictObject({ type: z.literal('needed'), message: text }),
  /** `refusal` says why a profile would not be built as it is. Null: it would be built. */
  z.strictObject({ type: z.literal('profile_checked'), profile: text, platform, refusal: text.nullable() }),
  z.strictObject({ type: z.literal('proposed_file'), path: text, content: text, written: z.boolean() }),
] as const;
