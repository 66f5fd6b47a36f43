/**
 * Brings the local database of a controller up to date.
 *
 * A new one is a copy of a database that was made once, because wrangler takes seconds of CPU time for the
 * migrations, and the tests start dozens of controllers at once.
 *
 * Invariant: a template is whole from the moment that its folder exists, and its name says which migrations,
 * configuration and release of wrangler it was made with.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { PROJECT_ROOT } from './project-root.ts';
import { type WranglerOptions, wrangler } from './wrangler.ts';

const TEMPLATES = path.join(PROJECT_ROOT, 'node_modules/.cache/local-database');
/** Where wrangler keeps the databases of a folder. */
const DATABASES = 'v3/d1';

/** Throws with the output of wrangler if a migration fails. */
export async function migrate(stateDir: string, options?: WranglerOptions): Promise<void> {
  if (existsSync(path.join(stateDir, DATABASES))) return apply(stateDir, options);
  await cp(await databaseTemplate(options), stateDir, { recursive: true });
}

/** Makes the template unless it is there, and returns its folder. */
export async function databaseTemplate(options?: WranglerOptions): Promise<string> {
  const template = path.join(TEMPLATES, await fingerprint());
  if (!existsSync(template)) await makeTemplate(template, options);
  return template;
}

async function apply(stateDir: string, options?: WranglerOptions): Promise<void> {
  await wrangler(['d1', 'migrations', 'apply', 'DB', '--local', '--persist-to', stateDir], options);
}

async function makeTemplate(template: string, options?: WranglerOptions): Promise<void> {
  await mkdir(TEMPLATES, { recursive: true });
  const earlier = await readdir(TEMPLATES);
  const made = await mkdtemp(path.join(TEMPLATES, 'new-'));
  try {
    await apply(made, options);
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
  const folder = path.join(PROJECT_ROOT, 'migrations');
  const migrations = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  const files = [
    ...migrations.map((name) => path.join(folder, name)),
    path.join(PROJECT_ROOT, 'wrangler.toml'),
    path.join(PROJECT_ROOT, 'node_modules/wrangler/package.json'),
  ];
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${path.basename(file)}\n`).update(await readFile(file));
  return hash.digest('hex').slice(0, 16);
}
