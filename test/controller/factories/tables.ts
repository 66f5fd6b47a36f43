/**
 * Reads all that D1 holds, as one text for each table. A refused request must not change it. The outbox is
 * left out, because it is emptied in the background, and a row enters it only together with a row of
 * `events`.
 */
import { env } from 'cloudflare:workers';

let known: { name: string; columns: string[] }[] | null = null;
async function ourTables() {
  if (known) return known;
  const { results } = await env.DB.prepare(
    `SELECT t.name, json_group_array(c.name) AS columns FROM sqlite_master AS t, pragma_table_info(t.name) AS c
     WHERE t.type = 'table' AND t.name NOT IN ('outbox', 'submission_work') AND t.name NOT LIKE 'sqlite_%'
       AND t.name NOT LIKE '\\_cf%' ESCAPE '\\'
     GROUP BY t.name ORDER BY t.name`,
  ).all<{ name: string; columns: string }>();
  known = results.map(({ name, columns }) => ({ name, columns: JSON.parse(columns) as string[] }));
  return known;
}

/** D1 gives a function no more arguments than this. */
const ARGUMENTS_MAX = 32;
const inPortions = (columns: string[]): string[][] =>
  columns.length === 0 ? [] : [columns.slice(0, ARGUMENTS_MAX), ...inPortions(columns.slice(ARGUMENTS_MAX))];

/** One statement that has SQLite write the texts. One for each table takes several times as long. */
export async function contentsOfTables(): Promise<Record<string, string>> {
  const texts = (await ourTables()).map(({ name, columns }) => {
    const row = inPortions(columns).map((some) => `json_array(${some.map((column) => `"${column}"`)})`);
    return `(SELECT json_group_array(json_array(${row})) FROM "${name}") AS "${name}"`;
  });
  return (await env.DB.prepare(`SELECT ${texts}`).first<Record<string, string>>())!;
}

/** The tables with children before their parents. */
const IN_ORDER = [
  'artifacts',
  'events',
  'outbox',
  'attempts',
  'audit',
  'enrolments',
  'keys',
  'builds',
  'blobs',
  'workers',
  'secrets',
  'store_keys',
  'projects',
];

export async function emptyTables(): Promise<void> {
  const names = (await ourTables()).map(({ name }) => name);
  const rest = names.filter((name) => name !== 'd1_migrations' && !IN_ORDER.includes(name));
  await env.DB.batch([...rest, ...IN_ORDER].map((name) => env.DB.prepare(`DELETE FROM "${name}"`)));
}
