/**
 * Reads all that D1 holds, as one text for each table. A refused request must not change it. The outbox is
 * left out, because it is emptied in the background, and a row enters it only together with a row of
 * `events`.
 */
import { env } from 'cloudflare:workers';

let known: string[] | null = null;
const tableNames = async (): Promise<string[]> => {
  if (known) return known;
  const { results } = await env.DB.prepare(
    `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('outbox', 'submission_work') AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY name`,
  ).all<{ name: string }>();
  known = results.map(({ name }) => name);
  return known;
};

let last: { changes: number; contents: Record<string, string> } | null = null;
/** Before another database: it counts its changes anew. */
export const forgetContents = (): void => void (last = null);

/** Read anew only if a row was written since the last time. SQLite counts them. */
export async function contentsOfTables(): Promise<Record<string, string>> {
  const changes = (await env.DB.prepare('SELECT total_changes() AS changes').first<number>('changes'))!;
  if (last?.changes === changes) return last.contents;
  const contents = await readTables();
  last = { changes, contents };
  return contents;
}

async function readTables(): Promise<Record<string, string>> {
  const names = await tableNames();
  const tables = await env.DB.batch(names.map((name) => env.DB.prepare(`SELECT * FROM "${name}"`)));
  return Object.fromEntries(names.map((name, index) => [name, JSON.stringify(tables[index]!.results)]));
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
  const rest = (await tableNames()).filter((name) => name !== 'd1_migrations' && !IN_ORDER.includes(name));
  await env.DB.batch([...rest, ...IN_ORDER].map((name) => env.DB.prepare(`DELETE FROM "${name}"`)));
}
