/**
 * Checks that no migration loses rows. D1 ignores `PRAGMA foreign_keys=OFF`. So a rebuild of a table, as
 * drizzle-kit writes it, deletes the rows that refer to the table by ON DELETE CASCADE, and fails if other
 * rows refer to it.
 */
import { applyD1Migrations, type D1Migration } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { emptyStorage, removeAll } from './factories/empty-storage.ts';

interface Column {
  name: string;
  type: string;
  notnull: number;
  dflt_value: string | null;
  pk: number;
}

const all = async <T>(sql: string): Promise<T[]> => (await env.DB.prepare(sql).all<T>()).results;

const tableNames = async (): Promise<string[]> =>
  (
    await all<{ name: string }>(
      `SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'd1_migrations'
         AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_cf%' ESCAPE '\\'`,
    )
  ).map(({ name }) => name);

/** Puts two rows into each table. A row refers to the rows of its own number, so every foreign key holds. */
async function fillTables(): Promise<void> {
  const left = new Map<string, string[]>();
  for (const table of await tableNames()) {
    const parents = await all<{ table: string }>(`PRAGMA foreign_key_list("${table}")`);
    left.set(
      table,
      parents.map((parent) => parent.table),
    );
  }
  while (left.size > 0) {
    const next = [...left].find(([table, parents]) => parents.every((parent) => parent === table || !left.has(parent)));
    if (!next) throw new Error(`the tables ${[...left.keys()].join(', ')} refer to each other in a circle`);
    const [table] = next;
    left.delete(table);
    const columns = await all<Column>(`PRAGMA table_info("${table}")`);
    const keys = await all<{ from: string }>(`PRAGMA foreign_key_list("${table}")`);
    const referring = new Set(keys.map(({ from }) => from));
    // A column that may be empty stays empty, because checks are about such columns.
    const filled = columns.filter(({ name, notnull, pk }) => notnull || pk || referring.has(name));
    for (const row of [1, 2]) {
      const values = filled.map(({ type }) => (/INT/i.test(type) ? String(row) : `'${row}'`));
      const names = filled.map(({ name }) => `"${name}"`);
      await env.DB.prepare(`INSERT INTO "${table}" (${names.join(', ')}) VALUES (${values.join(', ')})`).run();
    }
  }
}

async function rowCounts(): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const table of await tableNames()) counts[table] = (await all(`SELECT 1 FROM "${table}"`)).length;
  return counts;
}

/** The losses of a filled database: the tables that lose rows in a migration, or its failure. */
async function lossesOf(migration: D1Migration): Promise<string[]> {
  await fillTables();
  const before = await rowCounts();
  try {
    await applyD1Migrations(env.DB, [migration]);
  } catch (error) {
    return [String(error)];
  }
  const after = await rowCounts();
  return Object.entries(before).flatMap(([table, count]) =>
    table in after && after[table]! < count ? [`${table}: ${count} rows before, ${after[table]} after`] : [],
  );
}

// Empties all storage, because this file migrates by itself.
beforeEach(() => removeAll());

const MIGRATIONS = env.TEST_MIGRATIONS;

test.for(MIGRATIONS.map(({ name }, index) => [name, index] as const))(
  '%s loses no row of a table that it keeps',
  async ([, index]) => {
    await applyD1Migrations(env.DB, MIGRATIONS.slice(0, index));
    expect(await lossesOf(MIGRATIONS[index]!)).toEqual([]);
    expect(await all('PRAGMA foreign_key_check')).toEqual([]);
  },
);

test('no migration is written as drizzle-kit rebuilds a table', () => {
  const rebuilds = MIGRATIONS.flatMap(({ name, queries }) =>
    queries.filter((query) => /PRAGMA foreign_keys|\b__new_|\bRENAME TO\b/i.test(query)).map((query) => [name, query]),
  );
  expect(rebuilds).toEqual([]);
});

test('keys of the former release find the root of their lineage', async () => {
  await applyD1Migrations(env.DB, MIGRATIONS.slice(0, 1));
  const keys = [
    ['second', "'first'"],
    ['first', 'NULL'],
    ['third', "'second'"],
    ['alone', 'NULL'],
    ['of-a-key-that-is-gone', "'gone'"],
  ];
  for (const [id, from] of keys)
    await env.DB.prepare(
      `INSERT INTO keys (id, hash, name, scope, created_at, rotated_from) VALUES ('${id}', '${id}', 'x', 'submit', 1, ${from})`,
    ).run();
  await applyD1Migrations(env.DB, MIGRATIONS.slice(0, 2));
  expect(await all('SELECT id, root_id FROM keys ORDER BY id')).toEqual([
    { id: 'alone', root_id: 'alone' },
    { id: 'first', root_id: 'first' },
    { id: 'of-a-key-that-is-gone', root_id: 'of-a-key-that-is-gone' },
    { id: 'second', root_id: 'first' },
    { id: 'third', root_id: 'first' },
  ]);
});

test('keys of the former release know from the audit who asked for their rotation', async () => {
  await applyD1Migrations(env.DB, MIGRATIONS.slice(0, 2));
  const keys = [
    ['first', 'NULL', 1],
    ['by-itself', "'first'", 10],
    ['by-an-admin', "'first'", 20],
    ['before-the-audit', "'first'", 30],
  ] as const;
  for (const [id, from, at] of keys)
    await env.DB.prepare(
      `INSERT INTO keys (id, hash, name, scope, created_at, rotated_from) VALUES ('${id}', '${id}', 'x', 'submit', ${at}, ${from})`,
    ).run();
  for (const [at, keyId] of [
    [11, 'first'],
    [20, 'boss'],
  ] as const)
    await env.DB.prepare(
      `INSERT INTO audit (at, key_id, key_name, action, target) VALUES (${at}, '${keyId}', 'x', 'key.rotate', 'first')`,
    ).run();
  await applyD1Migrations(env.DB, MIGRATIONS.slice(0, 3));
  expect(await all('SELECT id, rotated_by FROM keys ORDER BY created_at')).toEqual([
    { id: 'first', rotated_by: null },
    { id: 'by-itself', rotated_by: 'first' },
    { id: 'by-an-admin', rotated_by: 'boss' },
    { id: 'before-the-audit', rotated_by: null },
  ]);
});

// ── The ways to rebuild a table, tried on a small schema
// ────────────────────────────────────────────────────

const SCHEMA = {
  name: '0000_small.sql',
  queries: [
    'CREATE TABLE parent (id TEXT PRIMARY KEY NOT NULL)',
    'CREATE TABLE kept (id TEXT PRIMARY KEY NOT NULL, parent TEXT NOT NULL REFERENCES parent (id))',
    'CREATE TABLE cascading (id TEXT PRIMARY KEY NOT NULL, parent TEXT NOT NULL REFERENCES parent (id) ON DELETE CASCADE)',
  ],
};
const rebuild = async (...queries: string[]) => {
  await applyD1Migrations(env.DB, [SCHEMA]);
  return lossesOf({ name: '0001_rebuild.sql', queries });
};
const NEW_PARENT = 'TABLE parent (id TEXT PRIMARY KEY NOT NULL, added INTEGER)';

test('drizzle-kit’s way fails, or deletes the rows that cascade', async () => {
  const drizzles = [
    'PRAGMA foreign_keys=OFF',
    `CREATE ${NEW_PARENT.replace('parent', '__new_parent')}`,
    'INSERT INTO __new_parent (id) SELECT id FROM parent',
    'DROP TABLE parent',
    'ALTER TABLE __new_parent RENAME TO parent',
    'PRAGMA foreign_keys=ON',
  ];
  expect(await rebuild(...drizzles)).toEqual([expect.stringContaining('FOREIGN KEY constraint failed')]);
  await removeAll();
  expect(await rebuild('DROP TABLE kept', ...drizzles)).toEqual(['cascading: 2 rows before, 0 after']);
});

test('with deferred foreign keys the rows stay that do not cascade', async () => {
  const losses = await rebuild(
    'PRAGMA defer_foreign_keys=on',
    'CREATE TABLE old AS SELECT * FROM parent',
    'DROP TABLE parent',
    `CREATE ${NEW_PARENT}`,
    'INSERT INTO parent (id) SELECT id FROM old',
    'DROP TABLE old',
  );
  expect(losses).toEqual(['cascading: 2 rows before, 0 after']);
});

test('rows that cascade stay if they are put aside as well', async () => {
  const losses = await rebuild(
    'PRAGMA defer_foreign_keys=on',
    'CREATE TABLE old AS SELECT * FROM parent',
    'CREATE TABLE old_cascading AS SELECT * FROM cascading',
    'DROP TABLE parent',
    `CREATE ${NEW_PARENT}`,
    'INSERT INTO parent (id) SELECT id FROM old',
    'INSERT INTO cascading SELECT * FROM old_cascading',
    'DROP TABLE old',
    'DROP TABLE old_cascading',
  );
  expect(losses).toEqual([]);
  expect(await all('PRAGMA foreign_key_check')).toEqual([]);
});

test('the copy with which a test file begins is what the migrations make, to the last row', async () => {
  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
  const seen = async () => ({
    schema: await all(`SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name`),
    rows: await rowCounts(),
    projects: await all('SELECT id, name, max_queued_untrusted FROM projects'),
    migrations: await all('SELECT id, name FROM d1_migrations'),
  });
  const migrated = await seen();
  // The migrations themselves may make the first database. A copy makes the second.
  for (let made = 0; made < 2; made++) {
    await emptyStorage();
    expect(await seen()).toEqual(migrated);
  }
});
