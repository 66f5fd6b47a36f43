/**
 * Puts the artifacts of a build into a folder of their own.
 *
 * Invariant: it writes into this folder alone, never over a file and never through a link. A file has its
 * name only once all its bytes are there and their SHA-256 is right.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Artifact, BuildDetail } from '#contract';
import type { BuildsClient } from '../../client/builds-client.ts';
import { CommandError } from '../command-error.ts';
import { refuseLinks } from './folder.ts';
import { localNames } from './local-names.ts';

interface SaveOptions {
  folder: string;
  /** Only these. Null: all. */
  names: readonly string[] | null;
  signal: AbortSignal;
  onBytes?: (artifact: Artifact, sizeBytes: number) => void;
  onSaved: (artifact: Artifact, path: string) => void;
}

/** Rejects with CommandError before anything is written if a name is not there or its place is taken. */
export async function saveArtifacts(
  client: BuildsClient,
  { id, artifacts }: Pick<BuildDetail, 'id' | 'artifacts'>,
  { folder, names, signal, onBytes, onSaved }: SaveOptions,
): Promise<void> {
  const newest = newestOf(artifacts);
  const wanted = names === null ? newest : names.map((name) => named(newest, name, id));
  await refuseLinks(folder);
  const local = localNames(newest.map(({ name }) => name));
  const places = wanted.map((artifact) => ({ artifact, path: join(folder, local.get(artifact.name)!) }));
  const missing: typeof places = [];
  for (const place of places) if (!(await isThere(place.artifact, place.path))) missing.push(place);
  await mkdir(folder, { recursive: true });
  for (const { artifact, path } of places) {
    if (missing.some((one) => one.artifact === artifact)) {
      const options = { signal, onBytes: (size: number) => onBytes?.(artifact, size) };
      await client.downloadArtifact(id, artifact, path, options).catch(async (error) => {
        // Another process may have been faster.
        if (error.code !== 'EEXIST' || !(await isThere(artifact, path))) throw error;
      });
    }
    onSaved(artifact, path);
  }
}

/** A later attempt may have left an artifact of the same name. */
function newestOf(artifacts: readonly Artifact[]): Artifact[] {
  const byName = new Map<string, Artifact>();
  for (const one of artifacts) if ((byName.get(one.name)?.attempt ?? 0) <= one.attempt) byName.set(one.name, one);
  return [...byName.values()];
}

function named(artifacts: readonly Artifact[], name: string, buildId: string): Artifact {
  const found = artifacts.filter((one) => one.name === name || one.name.endsWith(`/${name}`));
  if (found.length === 1) return found[0]!;
  const exact = found.find((one) => one.name === name);
  if (exact) return exact;
  const list = (found.length > 0 ? found : artifacts).map((one) => one.name).join(', ') || 'none';
  throw new CommandError(
    found.length > 0
      ? `Build ${buildId} has several artifacts of the name ${name}: ${list}. Give the whole name.`
      : `Build ${buildId} has no artifact ${name}. It has: ${list}.`,
  );
}

/** True if this very file lies there. */
async function isThere(artifact: Artifact, path: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => null);
  if (!stats) return false;
  if (stats.isFile() && stats.size === artifact.size && (await hashOf(path)) === artifact.sha256) return true;
  throw new CommandError(`${path} exists already and is another file. Give another folder with --to, or remove it.`);
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}
