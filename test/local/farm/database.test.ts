import { globSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { migrate } from '../../../local/farm/database.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

const FOLDER = 'v3/d1/miniflare-D1DatabaseObject';

/** Opens the database that `wrangler dev` opens. */
function open(stateDir: string) {
  const names = globSync('*.sqlite', { cwd: join(stateDir, FOLDER) }).filter((name) => name !== 'metadata.sqlite');
  expect(names).toHaveLength(1);
  const database = new DatabaseSync(join(stateDir, FOLDER, names[0]!));
  return {
    all: (sql: string) => database.prepare(sql).all(),
    run: (sql: string) => database.exec(sql),
    [Symbol.dispose]: () => database.close(),
  };
}

function contentsOf(stateDir: string) {
  using database = open(stateDir);
  return {
    schema: database.all('SELECT type, name, sql FROM sqlite_master ORDER BY type, name'),
    applied: database.all('SELECT * FROM d1_migrations'),
    projects: database.all('SELECT id FROM projects'),
  };
}

test('a new database is a copy; one that exists gets what it lacks, and nothing twice', async () => {
  using dir = temporaryDir();
  const [copied, older] = [join(dir.path, 'copied'), join(dir.path, 'older')];
  await migrate(copied);
  const whole = contentsOf(copied);
  expect(whole.applied.length).toBeGreaterThan(10);
  await migrate(copied);
  expect(contentsOf(copied)).toEqual(whole);

  mkdirSync(join(older, FOLDER), { recursive: true });
  await migrate(older);
  const names = ({ id, name }: Record<string, unknown>) => ({ id, name });
  expect({ ...contentsOf(older), applied: contentsOf(older).applied.map(names) }).toEqual({
    ...whole,
    applied: whole.applied.map(names),
  });
});

test('a migration that fails is named, and changes nothing', async () => {
  using dir = temporaryDir();
  await migrate(dir.path);
  {
    using database = open(dir.path);
    database.run('DELETE FROM d1_migrations WHERE id = (SELECT max(id) FROM d1_migrations)');
  }
  const before = contentsOf(dir.path);
  await expect(migrate(dir.path)).rejects.toThrow(
    /^the migration \d{4}_\w+\.sql cannot be applied to the local database: .*(already exists|duplicate column)/,
  );
  expect(contentsOf(dir.path)).toEqual(before);
});
