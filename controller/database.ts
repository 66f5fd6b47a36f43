/** Opens D1 with the tables of schema.ts, and inserts a row under a condition. */
import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import { type DrizzleD1Database, drizzle } from 'drizzle-orm/d1';
import type { SQLiteTable } from 'drizzle-orm/sqlite-core';
import * as schema from './schema.ts';

export type Database = DrizzleD1Database<typeof schema>;

export const openDatabase = (env: Pick<Env, 'DB'>): Database => drizzle(env.DB, { schema });

/**
 * `INSERT … SELECT … WHERE condition`. Every column of the table gets its value from `row`, in the encoding
 * that the column declares, so that no column can be forgotten. A column that `row` leaves out gets its
 * default or NULL.
 */
export function insertIf<T extends SQLiteTable>(db: Database, table: T, row: T['$inferInsert'], condition: SQL) {
  const values = Object.entries(getTableColumns(table)).map(([name, column]) => {
    const value = row[name as keyof typeof row] ?? column.default;
    return value === undefined ? sql`NULL` : sql`${sql.param(value, column)}`;
  });
  return db.insert(table).select(sql`SELECT ${sql.join(values, sql`, `)} WHERE ${condition}`);
}
