/** Defines links to install pages: addresses that open one app of a build without a key. */
import { z } from 'zod';
import { ArtifactName, bytes, time } from '../fields.ts';
import { LINK_LIFE_MAX_MS, LINK_LIFE_MIN_MS } from '../lifetimes.ts';
import { ArtifactApp } from './builds.ts';

/** Asks for a link to an artifact of a build that has succeeded. */
export const LinkRequest = z.strictObject({
  /** Left out: the only artifact of the build that can be installed. */
  artifact: ArtifactName.optional(),
  /** Left out: as long as the artifact is kept. It is never longer. */
  expiresInMs: z.number().int().min(LINK_LIFE_MIN_MS).max(LINK_LIFE_MAX_MS).optional(),
});
export type LinkRequest = z.infer<typeof LinkRequest>;

export const Link = z.object({
  id: z.string(),
  buildId: z.string(),
  projectId: z.string(),
  artifact: z.object({ name: z.string(), attempt: z.number().int(), sha256: z.string(), size: bytes.nullable() }),
  /** The data of the app. Null once the artifact is no longer kept. */
  app: ArtifactApp.nullable().catch(null).default(null),
  createdBy: z.object({ keyId: z.string(), name: z.string().nullable() }),
  createdAt: time,
  expiresAt: time,
  revokedAt: time.nullable(),
});
export type Link = z.infer<typeof Link>;

/** The only answer that has the address. The controller stores only the hash of its token. */
export const LinkCreated = Link.extend({ url: z.string() });
export type LinkCreated = z.infer<typeof LinkCreated>;

export const LinkList = z.object({ links: z.array(Link), nextCursor: z.string().nullable().default(null) });
export type LinkList = z.infer<typeof LinkList>;
