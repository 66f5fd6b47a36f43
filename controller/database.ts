/** Opens D1, and inserts a row under a condition. */
import { getTableColumns, is, SQL, sql } from 'drizzle-orm';
import { type DrizzleD1Database, drizzle } from 'drizzle-orm/d1';
import type { SQLiteTable } from 'drizzle-orm/sqlite-core';

export type Database = DrizzleD1Database;

/**
 * Each function opens D1 for itself, several times in a request. We do not pass the tables of schema/,
 * because Drizzle would read all of them each time, and each query names its own tables.
 */
export const openDatabase = (env: Pick<Env, 'DB'>): Database => drizzle(env.DB);

/**
 * `INSERT … SELECT … WHERE condition`. Every column of the table gets its value from `row`, in the encoding
 * that the column declares, so that no column can be forgotten. A value may be an SQL expression. If `row`
 * leaves a column out, it gets its default or NULL.
 */
export function insertIf<T extends SQLiteTable>(db: Database, table: T, row: RowOf<T>, condition: SQL) {
  const values = Object.entries(getTableColumns(table)).map(([name, column]) => {
    const value = row[name as keyof typeof row] ?? column.default;
    if (value === undefined) return sql`NULL`;
    return is(value, SQL) ? value : sql`${sql.param(value, column)}`;
  });
  return db.insert(table).select(sql`SELECT ${sql.join(values, sql`, `)} WHERE ${condition}`);
}

type RowOf<T extends SQLiteTable> = { [Name in keyof T['$inferInsert']]: T['$inferInsert'][Name] | SQL };

/**
 * D1 names a violated constraint only in the message. Drizzle wraps the error of a single statement, but not
 * that of a batch.
 */
export function isForeignKeyError(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause)
    if (e.message.includes('FOREIGN KEY constraint failed')) return true;
  return false;
}
