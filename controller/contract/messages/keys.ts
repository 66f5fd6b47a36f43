/** Defines keys, their rights, and the audit of their use. */
import { z } from 'zod';
import { GRANTS, SCOPES } from '../closed-lists.ts';
import { Id, text, time } from '../fields.ts';
import { POOLS_OF_KEY_MAX, PROJECTS_OF_KEY_MAX } from '../sizes.ts';

export const Scope = z.enum(SCOPES);
export type Scope = z.infer<typeof Scope>;

/** `*` means all, also those that come later. An empty list means none. */
const all = z.literal('*');

export const Priority = z.number().int().min(-100).max(100);

/**
 * The rights of a key, beside its scope. Unknown fields are refused, because a field that an older controller
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

export const Me = z.object({
  scope: Scope,
  name: z.string(),
  workerId: z.string().nullable(),
  /** Names the key in a rotation. `keyId` and `createdAt` are null for the deployment's own ADMIN_KEY. */
  keyId: z.string().nullable().default(null),
  createdAt: time.nullable().default(null),
  expiresAt: time.nullable().default(null),
  /** The pools that the key is tied to; null for all. */
  pools: z.array(z.string()).nullable().default(null),
  rights: Rights.optional(),
});
export type Me = z.infer<typeof Me>;

/**
 * A request for a key. Unknown fields are refused, because a misspelt one could be a restriction. A request
 * without `projects`, `trusted`, `maxPriority` and `may` is from a client that knows none of them. Its key
 * reaches all projects, as keys did before. With one of these fields, `projects` must be named.
 */
export const KeyRequest = z
  .strictObject({
    name: text(100).min(1),
    scope: z.enum(['admin', 'submit', 'read']),
    expiresAt: time.optional(),
    /** Ids of projects, or `*` for all. */
    projects: Rights.shape.projects.optional(),
    /** Names of pools, or `*` for all, which is the default. */
    pools: Rights.shape.pools.optional(),
    trusted: z.boolean().optional(),
    /** 0 if it is left out beside the other rights. */
    maxPriority: Priority.optional(),
    may: Rights.shape.may.optional(),
  })
  .refine(({ scope, ...rights }) => scope !== 'admin' || Object.keys(rights).every((name) => !(name in Rights.shape)), {
    path: ['scope'],
    message: 'a key of scope admin is for the whole farm. The admin of projects has scope submit and `may: ["admin"]`',
  })
  .refine(
    ({ projects, trusted, maxPriority, may }) =>
      projects !== undefined || [trusted, maxPriority, may].every((one) => one === undefined),
    {
      path: ['projects'],
      message: 'name the projects by id or name, or give "*" for all',
    },
  );
export type KeyRequest = z.infer<typeof KeyRequest>;

export const KeyView = z.object({
  id: z.string(),
  name: z.string(),
  scope: Scope,
  workerId: z.string().nullable(),
  pools: z.array(z.string()).nullable().default(null),
  /** Left out by older controllers. */
  rights: Rights.optional(),
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

/**
 * The ids of all that a revocation has ended. The answer has the first 1,000 of each kind, and says how many
 * more there are.
 */
export const Ended = z.object({
  builds: z.array(z.string()),
  submissions: z.array(z.string()).default([]),
  links: z.array(z.string()).default([]),
  more: z.number().int().min(0),
});
export type Ended = z.infer<typeof Ended>;

/**
 * `alsoRevoked`: the keys that the revoked key became by renewing itself. `ended`: the unfinished builds and
 * submissions of all of them, which are cancelled, and their links, which are revoked. With `keep=1` in the
 * request, they all continue.
 */
export const KeyRevoked = z.object({
  key: KeyView,
  alsoRevoked: z.array(KeyView).default([]),
  ended: Ended.default({ builds: [], submissions: [], links: [], more: 0 }),
});
export type KeyRevoked = z.infer<typeof KeyRevoked>;

export const AuditEntry = z.object({
  id: z.number().int(),
  at: time,
  keyId: z.string(),
  keyName: z.string(),
  action: z.string(),
  /** `KIND/ID`, such as `build/b_…`. Entries of earlier releases have the id alone. */
  target: z.string().nullable(),
  /** Null for a target that belongs to no project, and for a key that reaches several. */
  projectId: z.string().nullable().default(null),
  /** With `number.set`: the counter's `value`, and what it `was`; null if there was none. */
  detail: z.record(z.string(), z.number().nullable()).nullable().default(null),
  /** True for an attempt that was refused. */
  denied: z.boolean().default(false),
});
export type AuditEntry = z.infer<typeof AuditEntry>;

export const AuditList = z.object({ entries: z.array(AuditEntry), nextCursor: z.string().nullable() });
