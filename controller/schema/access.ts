/** Defines API keys, and the audit of their use. */
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { SCOPES } from '#contract';
import { at } from './columns.ts';
import { workers } from './workers.ts';

export const keys = sqliteTable(
  'keys',
  {
    id: text('id').primaryKey(),
    /** SHA-256 of the secret. The secret itself is shown once and never stored. */
    hash: text('hash').notNull().unique(),
    name: text('name').notNull(),
    scope: text('scope', { enum: SCOPES }).notNull(),
    workerId: text('worker_id').references(() => workers.id),
    /**
     * The rights of the key, as JSON of the contract's `Rights`. Absent or unreadable means none. The former
     * release, which does not know the column, makes keys without it.
     */
    rights: text('rights').notNull().default(''),
    /**
     * It leaves the table with the release after this one. The former release reads here which pools the key
     * may use: null means all. A key that is restricted in another way has {@link NO_POOL} alone.
     */
    pools: text('pools', { mode: 'json' }).$type<string[]>(),
    createdAt: at('created_at').notNull(),
    lastUsedAt: at('last_used_at'),
    expiresAt: at('expires_at'),
    revokedAt: at('revoked_at'),
    /** The key that this one replaces. */
    rotatedFrom: text('rotated_from'),
    /**
     * The key that asked for the rotation: an admin's, or `rotated_from` if that key renewed itself. Null for
     * a first key, and if the former release made the key.
     */
    rotatedBy: text('rotated_by'),
    /**
     * The first key of the lineage: its own id, or the root of the key that it replaces. Null if the former
     * release made the key (access/key-rotation.ts follows `rotated_from` then).
     */
    rootId: text('root_id'),
    /** Set by a rotation. After this time the key stops working once somebody has used its replacement. */
    overlapEndsAt: at('overlap_ends_at'),
  },
  (table) => [index('keys_rotated_from').on(table.rotatedFrom), index('keys_root').on(table.rootId)],
);

/** The actions of keys, with time and target, for admins. Only the newest entries are kept. */
export const audit = sqliteTable(
  'audit',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    at: at('at').notNull(),
    keyId: text('key_id').notNull(),
    keyName: text('key_name').notNull(),
    action: text('action').notNull(),
    /** `KIND/ID` of the thing that the action was about. */
    target: text('target'),
    /** Null for a target that belongs to no project. */
    projectId: text('project_id'),
    /** The change in a few figures, if the target alone does not tell it. */
    detail: text('detail', { mode: 'json' }).$type<Record<string, number | null>>(),
    /** True if it was refused. */
    denied: integer('denied', { mode: 'boolean' }).notNull().default(false),
  },
  (table) => [index('audit_project').on(table.projectId, table.id)],
);
