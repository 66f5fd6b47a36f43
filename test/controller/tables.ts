/**
 * All that D1 holds, as one digest for each table: what a refused request must leave as it was. Without the outbox, which is worked
 * off in the background; a row comes into it only together with one of `events`.
 */
import { env } from 'cloudflare:workers';
import { sha256Of } from './rows.ts';

const tableNames = async (): Promise<string[]> => {
  const { results } = await env.DB.prepare(
    `SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'outbox' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY name`,
  ).all<{ name: string }>();
  return results.map(({ name }) => name);
};

export async function digestOfTables(): Promise<Record<string, string>> {
  const names = await tableNames();
  const tables = await env.DB.batch(names.map((name) => env.DB.prepare(`SELECT * FROM "${name}"`)));
  const digests = tables.map(({ results }) =>
    sha256Of(new Uint8Array(new TextEncoder().encode(JSON.stringify(results)))),
  );
  return Object.fromEntries(await Promise.all(names.map(async (name, index) => [name, await digests[index]])));
}

/** Children before their parents. */
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
];

export async function emptyTables(): Promise<void> {
  const rest = (await tableNames()).filter((name) => name !== 'd1_migrations' && !IN_ORDER.includes(name));
  await env.DB.batch([...rest, ...IN_ORDER].map((name) => env.DB.prepare(`DELETE FROM "${name}"`)));
}
