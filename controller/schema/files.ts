/** Defines the stored files, and their holders. */
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { at } from './columns.ts';

export const blobs = sqliteTable(
  'blobs',
  {
    sha256: text('sha256').primaryKey(),
    /** `blobs/<sha256>/<random>`. It is never reused, so that a late delete cannot hit a newer object. */
    r2Key: text('r2_key').notNull(),
    size: integer('size').notNull(),
    createdAt: at('created_at').notNull(),
    /** Set anew by the former release. `blob_holds` has it for each holder. */
    touchedAt: at('touched_at').notNull(),
  },
  (table) => [index('blobs_touched').on(table.touchedAt)],
);

/**
 * The holders of a file: a holder has sent all its bytes to this controller. Nobody else may name the file.
 * The cascade lets the former release, which does not know the table, remove files.
 */
export const blobHolds = sqliteTable(
  'blob_holds',
  {
    /** The id of a project, of a worker, of the first key of a lineage, or an attempt as `BUILD/NUMBER`. */
    holder: text('holder').notNull(),
    sha256: text('sha256')
      .notNull()
      .references(() => blobs.sha256, { onDelete: 'cascade' }),
    /** Set anew by each upload that finds the file held. Retention spares files that were touched lately. */
    touchedAt: at('touched_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.holder, table.sha256] }), index('blob_holds_blob').on(table.sha256)],
);
