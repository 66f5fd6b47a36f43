/** Defines the lines of `login --json`. */
import { z } from 'zod';
import { Me, Project } from '#contract';

export const LOGIN_LINES = [
  /** `projects` are those that the key reaches. `path` is the file that now has the address and the key. */
  z.strictObject({ type: z.literal('login'), url: z.string(), key: Me, projects: z.array(Project), path: z.string() }),
  /** With `--forget`. `wasStored` is false if there was nothing to forget. */
  z.strictObject({ type: z.literal('forgotten'), wasStored: z.boolean() }),
] as const;
