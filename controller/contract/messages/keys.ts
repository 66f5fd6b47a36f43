/** Defines keys, and the audit of what was done with them. */
import { z } from 'zod';
import { Id, text, time } from './fields.ts';

export const Me = z.object({
  scope: z.enum(['admin', 'submit', 'worker']),
  name: z.string(),
  workerId: z.string().nullable(),
  /** Names the key in a rotation. `keyId` and `createdAt` are null for the deployment's own ADMIN_KEY. */
  keyId: z.string().nullable().default(null),
  createdAt: time.nullable().default(null),
  expiresAt: time.nullable().default(null),
  /** The pools that the key is tied to; null for all. */
  pools: z.array(z.string()).nullable().default(null),
});
export type Me = z.infer<typeof Me>;

export const KeyRequest = z
  .object({
    name: text(100).min(1),
    scope: z.enum(['admin', 'submit']),
    expiresAt: time.optional(),
    /** For scope `submit`: the key may submit only to these pools, and sees only their builds. */
    pools: z.array(Id).min(1).max(50).optional(),
  })
  .refine(({ scope, pools }) => scope === 'submit' || pools === undefined, {
    path: ['pools'],
    message: 'only a key of scope submit can be tied to pools',
  });
export type KeyRequest = z.infer<typeof KeyRequest>;

export const KeyView = z.object({
  id: z.string(),
  name: z.string(),
  scope: z.enum(['admin', 'submit', 'worker']),
  workerId: z.string().nullable(),
  pools: z.array(z.string()).nullable().default(null),
  createdAt: time,
  lastUsedAt: time.nullable(),
  /** After a rotation also the end of the overlap. */
  expiresAt: time.nullable(),
  revokedAt: time.nullable(),
  /** The id of the key that this one replaces. */
  rotatedFrom: z.string().nullable().default(null),
});
export type KeyView = z.infer<typeof KeyView>;

export const KeyCreated = z.object({ key: KeyView, secret: z.string() });

/** `alsoRevoked`: the keys that the revoked key became by renewing itself. */
export const KeyRevoked = z.object({ key: KeyView, alsoRevoked: z.array(KeyView).default([]) });
export type KeyRevoked = z.infer<typeof KeyRevoked>;

export const KeyList = z.object({ keys: z.array(KeyView) });

export const AuditEntry = z.object({
  id: z.number().int(),
  at: time,
  keyId: z.string(),
  keyName: z.string(),
  action: z.string(),
  target: z.string().nullable(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;

export const AuditList = z.object({ entries: z.array(AuditEntry), nextCursor: z.string().nullable() });
