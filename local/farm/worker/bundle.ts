/**
 * Makes one file of a Worker of this repository, as `wrangler dev` makes it, and keeps it for the next start.
 *
 * Invariant: a kept bundle is used only while each file that it was made of has the same content.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { PROJECT_ROOT } from '../project-root.ts';
import { KEPT } from './kept.ts';

/** The other files that decide how sources become a bundle: versions, paths and options. */
const MAKERS = ['package-lock.json', 'package.json', 'tsconfig.base.json', 'local/farm/worker/bundle.ts'];

const Bundle = z.object({
  /** The hash of each file that the code was made of, by its path; empty if it changed meanwhile. */
  inputs: z.record(z.string(), z.string()),
  code: z.string(),
});
type Bundle = z.infer<typeof Bundle>;

/** The code of the Worker at `entry`, a path in the repository or an absolute one. */
export async function bundleOf(entry: string): Promise<string> {
  const relative = path.relative(PROJECT_ROOT, path.resolve(PROJECT_ROOT, entry));
  // A Worker of another folder, such as a temporary one, is never started a second time.
  if (relative.startsWith('..')) return (await make(relative)).code;
  const file = keptFileOf(relative);
  const kept = await readFile(file, 'utf8').then(
    (text) => Bundle.parse(JSON.parse(text)),
    () => null,
  );
  if (kept && (await isUpToDate(kept))) return kept.code;
  const made = await make(relative);
  await mkdir(KEPT, { recursive: true });
  await writeFileAtomic(file, JSON.stringify(made));
  return made.code;
}

/** The path at which the bundle of an entry is kept. The entry is a path in the repository. */
export const keptFileOf = (entry: string): string => path.join(KEPT, `${entry.replaceAll('/', '+')}.json`);

async function isUpToDate({ inputs }: Bundle): Promise<boolean> {
  const now = await hashesOf(Object.keys(inputs));
  return Object.entries(inputs).every(([file, hash]) => hash !== '' && now[file] === hash);
}

async function make(entry: string): Promise<Bundle> {
  const { build, stop } = await import('esbuild');
  const beganAtMs = Date.now();
  const { outputFiles, metafile } = await build({
    absWorkingDir: PROJECT_ROOT,
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    outdir: KEPT,
    format: 'esm',
    keepNames: true,
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'],
    target: 'es2024',
    supported: { using: true },
    define: { 'process.env.NODE_ENV': '"development"', 'navigator.userAgent': '"Cloudflare-Workers"' },
    logLevel: 'error',
  }).finally(stop);
  const inputs = await hashesOf([...Object.keys(metafile.inputs), ...MAKERS], beganAtMs);
  return { inputs, code: outputFiles[0]!.text };
}

const hashesOf = async (files: string[], unchangedSinceMs?: number): Promise<Record<string, string>> =>
  Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, await hashOf(file, unchangedSinceMs)] as const)),
  );

/** Empty if there is no such file, or if it has changed since then. */
async function hashOf(file: string, unchangedSinceMs = Number.POSITIVE_INFINITY): Promise<string> {
  const place = path.join(PROJECT_ROOT, file);
  const found = await Promise.all([readFile(place), stat(place)]).catch(() => null);
  if (!found || found[1].mtimeMs > unchangedSinceMs) return '';
  return createHash('sha256').update(found[0]).digest('hex');
}
