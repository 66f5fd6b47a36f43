/** Defines the work that is left for later. */
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { at } from './columns.ts';

/**
 * Work that a transition leaves for later, written in its own batch. The code that does the work deletes the
 * row.
 */
export const outbox = sqliteTable(
  'outbox',
  {
    id: integer('id').primaryKey({ autoIncrement: true }),
    kind: text('kind', {
      enum: ['close_deadline', 'seal_log', 'delete_log', 'delete_object', 'cancel_build'],
    }).notNull(),
    /** Empty, and `attempt` 0, for work on a stored object alone. */
    buildId: text('build_id').notNull(),
    attempt: integer('attempt').notNull(),
    r2Key: text('r2_key'),
    /** For `cancel_build`: the newer build that supersedes it, if one does. */
    supersededBy: text('superseded_by'),
    projectId: text('project_id'),
    dueAt: at('due_at').notNull(),
    tries: integer('tries').notNull().default(0),
  },
  (table) => [index('outbox_due').on(table.dueAt)],
);
