/** Says in SQL, for both outboxes, when a work is tried again and which rows are done. Pure. */
import { type SQL, sql } from 'drizzle-orm';
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core';

const BACKOFF_MAX_MS = 5 * 60_000;

/**
 * The values that a row gets before its work is tried. So work that stops the process each time does not hold
 * up the rest.
 */
export const tryOf = (tries: SQLiteColumn, now: number) => ({
  dueAt: sql`${now} + min(${BACKOFF_MAX_MS}, 1000 << min(${tries}, 20))`,
  tries: sql`${tries} + 1`,
});

export const isOneOf = (id: SQLiteColumn, ids: readonly number[]): SQL =>
  sql`${id} IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`;
