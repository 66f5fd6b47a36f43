/**
 * Uploads the artifacts that lie on this Mac to the controller's store.
 *
 * Invariant: an artifact is listed only once it is stored.
 */
import { stat } from 'node:fs/promises';
import type { AgentVerdict, ArtifactReport } from '#contract';
import type { Refused, Unreachable } from '../../client/answer.ts';
import { failed } from '../ending.ts';
import type { EmitOfAttempt } from '../events.ts';
import type { ArtifactStore } from './artifact-store.ts';
import { type LocalArtifact, placeOf, placeOfIcon } from './unpack.ts';

export interface UploadOptions {
  store: ArtifactStore;
  emit: EmitOfAttempt;
  giveUpAfterMs: number;
  signal: AbortSignal;
}

/** The begun uploads, with which the next run of the agent goes on after a crash. */
export interface UploadMemory {
  /** The ids of uploads that a former run has begun, by hash. */
  uploads: Readonly<Record<string, string>>;
  /** Remembers an upload that has begun. */
  onBegun: (sha256: string, uploadId: string) => Promise<void>;
}

/**
 * Stores each; safe to repeat. Rejects with AttemptOver: artifact_refused for a file that is too large,
 * transfer_failed otherwise.
 */
export async function uploadArtifacts(
  artifacts: readonly LocalArtifact[],
  { store, emit, giveUpAfterMs, signal, uploads, onBegun }: UploadOptions & UploadMemory,
): Promise<ArtifactReport[]> {
  for (const { name, sha256, sizeBytes, path } of artifacts) {
    const answer = await store.upload(
      { path, sha256, sizeBytes },
      { giveUpAfterMs, signal, uploadId: uploads[sha256], onBegun: (uploadId) => onBegun(sha256, uploadId) },
    );
    if (!answer.ok)
      throw failed(verdictOf(answer), 'artifact_upload', `${name} (${sizeBytes} bytes): ${answer.message}`);
    emit({ type: 'artifact', status: 'stored', name, sizeBytes, sha256 });
  }
  return artifacts.map(({ name, sha256, sizeBytes }) => ({ name, sha256, size: sizeBytes }));
}

/** No other attempt could store a file that is too large, so that is not the fault of this Mac. */
const verdictOf = (answer: Refused | Unreachable): AgentVerdict =>
  answer.kind === 'refused' && answer.code === 'too_large' ? 'artifact_refused' : 'transfer_failed';

/** Stores the artifacts of a result once more, from `dir`, because the controller no longer has them. */
export async function uploadAgain(
  artifacts: readonly ArtifactReport[],
  { store, dir, emit, giveUpAfterMs, signal }: UploadOptions & { dir: string },
): Promise<void> {
  for (const [index, { name, sha256, size, app }] of artifacts.entries()) {
    const path = placeOf(dir, index);
    const files = [{ path, sha256, sizeBytes: size }];
    const iconPath = placeOfIcon(path);
    const icon = app?.icon && (await stat(iconPath).catch(() => null));
    if (app?.icon && icon) files.push({ path: iconPath, sha256: app.icon, sizeBytes: icon.size });
    for (const file of files) {
      const answer = await store.upload(file, { giveUpAfterMs, signal });
      if (!answer.ok) emit({ type: 'warning', message: `${name} could not be uploaded again: ${answer.message}` });
    }
  }
}
