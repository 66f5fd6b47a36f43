/** Defines projects and pools, as an admin makes, changes and sees them. */
import { z } from 'zod';
import { Id, time } from '../fields.ts';
import { PROJECT_LIMIT_MAX } from '../sizes.ts';

const limit = (min: number) => z.number().int().min(min).max(PROJECT_LIMIT_MAX);

const fields = {
  /** Unique. A new name must differ from the others in more than case. */
  name: Id,
  /** How many builds may be active at once. Null: as many as the Macs hold. */
  maxActive: limit(1).nullable(),
  /** How many untrusted builds may wait at once. */
  maxQueuedUntrusted: limit(0),
  /** The image of its builds that ask for none: a name that its Macs have. Null: the default of each Mac. */
  image: Id.nullable(),
};

export const Project = z.object({ id: Id, ...fields, image: fields.image.default(null), createdAt: time });
export type Project = z.infer<typeof Project>;

export const ProjectRequest = z.strictObject({
  name: fields.name,
  maxActive: fields.maxActive.optional(),
  maxQueuedUntrusted: fields.maxQueuedUntrusted.optional(),
  image: fields.image.optional(),
});
export type ProjectRequest = z.infer<typeof ProjectRequest>;

export const ProjectPatch = ProjectRequest.partial().refine((patch) => Object.keys(patch).length > 0, {
  message: 'give name, maxActive, maxQueuedUntrusted or image',
});
export type ProjectPatch = z.infer<typeof ProjectPatch>;

/** A pool's name is its id, so a pool cannot be renamed. */
export const Pool = z.object({
  name: Id,
  /** False: the Macs of others. No build there gets a stored secret or writes a cache. */
  trusted: z.boolean(),
  createdAt: time,
});
export type Pool = z.infer<typeof Pool>;

export const PoolPatch = z.strictObject({ trusted: z.boolean() });
export type PoolPatch = z.infer<typeof PoolPatch>;
