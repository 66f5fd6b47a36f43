/** Defines links to install pages. */
import { sql } from 'drizzle-orm';
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { builds } from './builds.ts';
import { at } from './columns.ts';

/**
 * Addresses that open one app of a build without a key. The cascade lets the former release, which does not
 * know the table, remove builds. A new link writes seven rows: its own, and one for each index.
 */
export const links = sqliteTable(
  'links',
  {
    id: text('id').primaryKey(),
    /** SHA-256 of the token in the address. The token itself is answered once and never stored. */
    hash: text('hash').notNull().unique(),
    projectId: text('project_id').notNull(),
    buildId: text('build_id')
      .notNull()
      .references(() => builds.id, { onDelete: 'cascade' }),
    attempt: integer('attempt').notNull(),
    artifact: text('artifact').notNull(),
    sha256: text('sha256').notNull(),
    createdByKey: text('created_by_key').notNull(),
    createdByRoot: text('created_by_root').notNull(),
    /** True once its key was revoked with `keep=1`. From then on the link works without that key. */
    kept: integer('kept', { mode: 'boolean' }).notNull().default(false),
    createdAt: at('created_at').notNull(),
    /** At the latest when the artifact is no longer kept. */
    expiresAt: at('expires_at').notNull(),
    revokedAt: at('revoked_at'),
  },
  (table) => [
    index('links_build').on(table.buildId, table.createdAt),
    index('links_project').on(table.projectId, table.createdAt, table.id),
    index('links_key').on(table.createdByKey),
    index('links_expires').on(table.expiresAt),
    index('links_revoked').on(table.revokedAt).where(sql`${table.revokedAt} IS NOT NULL`),
  ],
);
