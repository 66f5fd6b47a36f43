/**
 * Empties all storage, and makes D1 the database of a deployment.
 *
 * Invariant: the first time in a runtime the migrations make it, statement by statement. Later times make a
 * copy of what they made, in one call, which is faster.
 */
import { applyD1Migrations, reset } from 'cloudflare:test';
import { env } from 'cloudflare:workers';

/** The statements that make the copy. */
let copy: string | null = null;

export async function emptyStorage(): Promise<void> {
  await removeAll();
  if (copy !== null) {
    await env.DB.prepare(copy).run();
    return;
  }
  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
  copy = await statementsOfCopy();
}

/**
 * One `reset` in five leaves the database as it was. The next one has emptied it each time that we looked.
 */
export async function removeAll(): Promise<void> {
  for (let resets = 0; resets < 10; resets++) {
    await reset();
    const left = await env.DB.prepare(`SELECT count(*) AS count FROM sqlite_master WHERE ${OURS}`).first<number>(
      'count',
    );
    if (left === 0) return;
  }
  throw new Error('the database still has tables after ten times `reset`');
}

const OURS = "name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_cf%' ESCAPE '\\'";

/** Tables, then the rows that migrations insert, then indices and triggers, so that none of these fires. */
async function statementsOfCopy(): Promise<string> {
  const { results } = await env.DB.prepare(
    `SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND ${OURS} ORDER BY rowid`,
  ).all<{ type: string; name: string; sql: string }>();
  const tables = results.filter(({ type }) => type === 'table');
  const rows = await env.DB.batch<Record<string, unknown>>(
    tables.map(({ name }) => env.DB.prepare(`SELECT * FROM "${name}"`)),
  );
  const insertions = tables.flatMap(({ name }, index) =>
    rows[index]!.results.map((row) => {
      const columns = Object.keys(row).map((column) => `"${column}"`);
      return `INSERT INTO "${name}" (${columns}) VALUES (${Object.values(row).map(literal)})`;
    }),
  );
  const rest = results.filter(({ type }) => type !== 'table');
  return [...tables.map(({ sql }) => sql), ...insertions, ...rest.map(({ sql }) => sql)].join(';\n');
}

function literal(value: unknown): string {
  if (value === null || typeof value === 'number') return String(value);
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  throw new Error(`a migration inserts ${typeof value}, which the copy cannot have`);
}
