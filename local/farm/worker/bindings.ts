/**
 * Reads wrangler.toml as `wrangler dev` does, and keeps what it says for the next start, because wrangler is
 * large and takes long to be loaded.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { z } from 'zod';
import { PROJECT_ROOT } from '../project-root.ts';
import { KEPT } from './kept.ts';

const CONFIGURATION = path.join(PROJECT_ROOT, 'wrangler.toml');

/** Leaves out .dev.vars and .env, as `--env-file` does. wrangler takes it, and its types do not name it. */
const ONLY_CONFIGURATION: object = { envFiles: [] };

/** Options of Miniflare for one Worker. Only wrangler and Miniflare know all of them. */
const WorkerOptions = z.looseObject({ bindings: z.record(z.string(), z.unknown()) });
export type WorkerOptions = z.infer<typeof WorkerOptions>;

/** All but the bindings that `others` names: wrangler would take secrets from this process's environment. */
export async function bindingsOfConfiguration(others: string[]): Promise<WorkerOptions> {
  const file = path.join(KEPT, `bindings-${await fingerprint()}.json`);
  const kept = await readFile(file, 'utf8').catch(() => null);
  if (kept !== null) return WorkerOptions.parse(JSON.parse(kept));
  const wrangler = createRequire(import.meta.url)('wrangler') as typeof import('wrangler');
  const { workerOptions } = wrangler.unstable_getMiniflareWorkerOptions(CONFIGURATION, undefined, ONLY_CONFIGURATION);
  const { modulesRules: _, ...options } = workerOptions;
  const bindings = Object.entries(options.bindings ?? {}).filter(([name]) => !others.includes(name));
  const text = JSON.stringify({ ...options, bindings: Object.fromEntries(bindings) });
  await mkdir(KEPT, { recursive: true });
  await writeFile(`${file}.${process.pid}`, text);
  await rename(`${file}.${process.pid}`, file);
  return WorkerOptions.parse(JSON.parse(text));
}

async function fingerprint(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of [
    CONFIGURATION,
    path.join(PROJECT_ROOT, 'node_modules/wrangler/package.json'),
    import.meta.filename,
  ])
    hash.update(await readFile(file));
  return hash.digest('hex').slice(0, 16);
}
