/**
 * Brings the local database of a controller up to date.
 *
 * It does the same as `wrangler d1 migrations apply --local`, which starts workerd anew for each migration. A
 * new database is a copy of one that was made once, because the tests start dozens of controllers.
 *
 * Invariant: a template is whole from the moment that its folder exists, and its name identifies its inputs:
 * migrations, configuration, release of wrangler and this file.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { within } from '../../client/retry.ts';
import { PROJECT_ROOT } from './project-root.ts';

const TEMPLATES = path.join(PROJECT_ROOT, 'node_modules/.cache/local-database');
const MIGRATIONS = path.join(PROJECT_ROOT, 'migrations');
const CONFIGURATION = path.join(PROJECT_ROOT, 'wrangler.toml');
/** The folder where wrangler keeps the stores that are bound to a Worker, in a folder for each kind. */
const STATE = 'v3';
/** Only for a start that hangs. On a busy machine workerd takes a minute to start. */
const LIMIT_MS = 600_000;

/** The table that wrangler keeps. It applies the same migrations to a database of Cloudflare. */
const APPLIED = `CREATE TABLE IF NOT EXISTS d1_migrations(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
)`;

type Database = Awaited<ReturnType<import('miniflare').Miniflare['getD1Database']>>;
interface D1Binding {
  binding: string;
  database_id: string;
}

/** Throws, with the name of the migration, if one fails. */
export async function migrate(stateDir: string, signal?: AbortSignal): Promise<void> {
  if (existsSync(path.join(stateDir, STATE, 'd1'))) return apply(stateDir, signal);
  await cp(await databaseTemplate(signal), stateDir, { recursive: true });
}

/** Makes the template if it does not exist, and returns its folder. */
export async function databaseTemplate(signal?: AbortSignal): Promise<string> {
  const template = path.join(TEMPLATES, await fingerprint());
  if (!existsSync(template)) await makeTemplate(template, signal);
  return template;
}

async function apply(stateDir: string, signal?: AbortSignal): Promise<void> {
  // Loaded only here, because they take seconds of CPU time to load.
  const require = createRequire(import.meta.url);
  const { Miniflare, convertV4MiniflareOptions } = require('miniflare') as typeof import('miniflare');
  const { unstable_readConfig, unstable_splitSqlQuery } = require('wrangler') as typeof import('wrangler');
  const { d1_databases } = unstable_readConfig({ config: CONFIGURATION });
  const d1Databases = Object.fromEntries(
    d1_databases.map((database: D1Binding) => [database.binding, database.database_id]),
  );
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      ...{ modules: true, script: 'export default {}', d1Databases },
      resourcePersistencePath: path.resolve(stateDir, STATE),
      ...{ cf: false, telemetry: { enabled: false }, unsafeLocalExplorer: false, unsafeObservability: false },
    }),
  );
  const applied = async () => {
    await applyTo(await miniflare.getD1Database('DB'), unstable_splitSqlQuery);
    return true;
  };
  try {
    if (!(await within(applied(), LIMIT_MS, signal)))
      throw new Error(`the migrations were not applied to the local database within ${LIMIT_MS / 1_000} s`);
  } finally {
    await miniflare.dispose();
  }
}

async function applyTo(database: Database, split: (sql: string) => string[]): Promise<void> {
  await database.prepare(APPLIED).run();
  const { results } = await database.prepare('SELECT name FROM d1_migrations').all<{ name: string }>();
  const applied = new Set(results.map(({ name }) => name));
  for (const name of await migrationNames()) {
    if (applied.has(name)) continue;
    const statements = split(await readFile(path.join(MIGRATIONS, name), 'utf8'));
    // One transaction applies the whole migration and notes that it was applied.
    const noted = database.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name);
    await database.batch([...statements.map((sql) => database.prepare(sql)), noted]).catch((error: Error) => {
      throw new Error(`the migration ${name} cannot be applied to the local database: ${error.message}`);
    });
  }
}

const migrationNames = async (): Promise<string[]> =>
  (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort();

async function makeTemplate(template: string, signal?: AbortSignal): Promise<void> {
  await mkdir(TEMPLATES, { recursive: true });
  const earlier = await readdir(TEMPLATES);
  const made = await mkdtemp(path.join(TEMPLATES, 'new-'));
  try {
    await apply(made, signal);
    // Another process may have been faster; its template is as good.
    await rename(made, template).catch((error: unknown) => {
      if (!existsSync(template)) throw error;
    });
  } finally {
    await rm(made, { recursive: true, force: true });
  }
  const outdated = earlier.filter((name) => !name.startsWith('new-') && name !== path.basename(template));
  for (const name of outdated) await rm(path.join(TEMPLATES, name), { recursive: true, force: true });
}

async function fingerprint(): Promise<string> {
  const files = [
    ...(await migrationNames()).map((name) => path.join(MIGRATIONS, name)),
    CONFIGURATION,
    path.join(PROJECT_ROOT, 'node_modules/wrangler/package.json'),
    import.meta.filename,
  ];
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${path.basename(file)}\n`).update(await readFile(file));
  return hash.digest('hex').slice(0, 16);
}
