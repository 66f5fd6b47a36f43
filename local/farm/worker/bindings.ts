/**
 * Reads wrangler.toml as `wrangler dev` does, and keeps the result for the next start, because wrangler is
 * large and takes long to load.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { PROJECT_ROOT } from '../project-root.ts';
import { KEPT } from './kept.ts';

const CONFIGURATION = path.join(PROJECT_ROOT, 'wrangler.toml');

/** Leaves out .dev.vars and .env, as `--env-file` does. wrangler accepts it, but its types do not name it. */
const ONLY_CONFIGURATION: object = { envFiles: [] };

/** Options of Miniflare for one Worker. Only wrangler and Miniflare know all of them. */
const WorkerOptions = z.looseObject({ bindings: z.record(z.string(), z.unknown()) });
type WorkerOptions = z.infer<typeof WorkerOptions>;

const FILE = path.join(KEPT, 'bindings.json');
const Kept = z.object({ fingerprint: z.string(), options: WorkerOptions });

/**
 * All bindings except those that `others` names: wrangler would take secrets from this process's environment.
 */
export async function bindingsOfConfiguration(others: string[]): Promise<WorkerOptions> {
  const now = await fingerprint(others);
  const kept = await readFile(FILE, 'utf8').then(
    (text) => Kept.parse(JSON.parse(text)),
    () => null,
  );
  if (kept?.fingerprint === now) return kept.options;
  const wrangler = createRequire(import.meta.url)('wrangler') as typeof import('wrangler');
  const { workerOptions } = wrangler.unstable_getMiniflareWorkerOptions(CONFIGURATION, undefined, ONLY_CONFIGURATION);
  const { modulesRules: _, ...all } = workerOptions;
  const bindings = Object.entries(all.bindings ?? {}).filter(([name]) => !others.includes(name));
  const options = { ...all, bindings: Object.fromEntries(bindings) };
  const text = JSON.stringify({ fingerprint: now, options });
  await mkdir(KEPT, { recursive: true });
  await writeFileAtomic(FILE, text);
  return Kept.parse(JSON.parse(text)).options;
}

async function fingerprint(others: string[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(others));
  for (const file of [
    CONFIGURATION,
    path.join(PROJECT_ROOT, 'node_modules/wrangler/package.json'),
    import.meta.filename,
  ])
    hash.update(await readFile(file));
  return hash.digest('hex');
}
