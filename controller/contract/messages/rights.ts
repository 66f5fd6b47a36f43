/** Defines what a key may do. */
import { z } from 'zod';
import { GRANTS, SCOPES } from '../closed-lists.ts';
import { Id } from '../fields.ts';
import { POOLS_OF_KEY_MAX, PROJECTS_OF_KEY_MAX } from '../sizes.ts';

export const Scope = z.enum(SCOPES);
export type Scope = z.infer<typeof Scope>;

/** `*` means all, also those that come later. An empty list means none. */
const all = z.literal('*');

export const Priority = z.number().int().min(-100).max(100);

/**
 * What a key may do, beside its scope. Unknown fields are refused, because a field that an older controller
 * drops could be a restriction.
 */
export const Rights = z.strictObject({
  /** Ids of projects. */
  projects: z.union([all, z.array(Id).max(PROJECTS_OF_KEY_MAX)]),
  /** Names of pools. */
  pools: z.union([all, z.array(Id).max(POOLS_OF_KEY_MAX)]),
  /** False for a key that builds the source of strangers. */
  trusted: z.boolean(),
  maxPriority: Priority,
  may: z.array(z.enum(GRANTS)).max(GRANTS.length),
});
export type Rights = z.infer<typeof Rights>;
