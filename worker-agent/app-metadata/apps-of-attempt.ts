/**
 * Reads which of the artifacts of an attempt are apps, and what they say of themselves, while the artifacts
 * are uploaded.
 *
 * Invariant: it never rejects, and nothing that a file contains fails the attempt. A file that cannot be read
 * costs one warning.
 */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { ArtifactApp } from '#contract';
import type { LocalFile } from '../../client/blob-requests.ts';
import type { EmitOfAttempt } from '../events.ts';
import { type LocalArtifact, placeOfIcon } from '../files/unpack.ts';
import { readAppInChild } from './app-child.ts';
import type { AppKind } from './said.ts';

/** A build has one app, or one for each kind of processor. */
const APPS_MAX = 16;
const ALL_MS = 60_000;

export interface AppOfArtifact {
  app: ArtifactApp;
  /** On this Mac, beside the artifact. */
  icon: LocalFile | null;
}

/** By the name of the artifact. */
export async function readApps(
  artifacts: readonly LocalArtifact[],
  { emit, signal }: { emit: EmitOfAttempt; signal: AbortSignal },
): Promise<Map<string, AppOfArtifact>> {
  const apps = new Map<string, AppOfArtifact>();
  const candidates = artifacts.flatMap((artifact) => {
    const kind = kindOf(artifact.name);
    return kind ? [{ artifact, kind }] : [];
  });
  const stopAt = performance.now() + ALL_MS;
  for (const { artifact, kind } of candidates.slice(0, APPS_MAX)) {
    if (signal.aborted || performance.now() > stopAt) break;
    try {
      const reading = await readAppInChild(kind, artifact.path, signal);
      if (reading.ok) apps.set(artifact.name, await withIcon(reading, artifact));
      else if (reading.problem !== null) emit(notRead(artifact.name, reading.problem));
    } catch (error) {
      if (!signal.aborted) emit(notRead(artifact.name, (error as Error).message));
    }
  }
  return apps;
}

const notRead = (name: string, why: string) =>
  ({ type: 'warning', message: `${name} is shown without its name and version, because ${why}` }) as const;

/** By the name alone. A folder becomes `Shop.app.tar.gz` on its way from the VM. */
function kindOf(name: string): AppKind | null {
  const [, kind] = /\.(?:(ipa|apk|aab)|app\.tar\.gz)$/i.exec(name) ?? [null, null];
  if (kind === null) return null;
  return kind === undefined ? 'app' : (kind.toLowerCase() as AppKind);
}

async function withIcon(
  { app, icon }: { app: ArtifactApp; icon: Buffer | null },
  { path: artifactPath }: LocalArtifact,
): Promise<AppOfArtifact> {
  if (icon === null) return { app, icon: null };
  const path = placeOfIcon(artifactPath);
  await writeFile(path, icon, { mode: 0o600 });
  const sha256 = createHash('sha256').update(icon).digest('hex');
  return { app: { ...app, icon: sha256 }, icon: { path, sha256, sizeBytes: icon.length } };
}
