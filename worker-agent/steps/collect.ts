/**
 * Collects the artifacts of the build from the VM, by way of this Mac, into the controller's store.
 *
 * Invariant: the agent removes the secrets of the build first. If artifacts of a failed build cannot be
 * collected, the agent only warns, because the verdict of the build stands.
 */
import type { ArtifactReport } from '#contract';
import { type AppOfArtifact, readApps } from '../app-metadata/apps-of-attempt.ts';
import { PROFILE_ARTIFACTS } from '../expo/profile-artifacts.ts';
import { fetchArtifacts } from '../files/artifact-fetch.ts';
import { uploadArtifacts } from '../files/artifact-upload.ts';
import { removeSecrets, stopMonitor } from '../guest/commands.ts';
import type { Guest } from '../guest/session.ts';
import { SshError } from '../guest/ssh-error.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import type { AttemptContext } from './context.ts';
import { globsOf } from './groundwork.ts';
import { step } from './step.ts';

export interface Collected {
  stored: ArtifactReport[];
  /** The required globs that match no file. */
  missing: string[];
}

/** Rejects with AttemptOver. */
export async function collect(context: AttemptContext, guest: Guest): Promise<Collected> {
  const { key, journal, emit, signal } = context;
  context.enter('collecting');
  await guest.exec(removeSecrets(key), { timeoutMs: GUEST_COMMAND_MS });
  const succeeded = journal.state.exitCode === 0;
  const collected = await step(context, 'artifacts', () => moveArtifacts(context, guest, succeeded)).catch((error) => {
    if (succeeded || signal.aborted) throw error;
    const message = `the artifacts of the failed build could not be collected: ${(error as Error).message}`;
    emit({ type: 'warning', message });
    return { stored: [], missing: [] };
  });
  // This may fail, because the VM and its monitor are destroyed in a moment.
  await guest.exec(stopMonitor(key), { timeoutMs: GUEST_COMMAND_MS }).catch((error) => {
    if (!(error instanceof SshError)) throw error;
  });
  await journal.update({ phase: 'collected' });
  return collected;
}

async function moveArtifacts(context: AttemptContext, guest: Guest, succeeded: boolean): Promise<Collected> {
  const { key, journal, artifactStore, limits, emit, signal } = context;
  const globs = globsOf(journal.state.assignment).filter(({ onFailure }) => succeeded || onFailure);
  const options = { guest, key, globs, dir: journal.artifactsDir, emit, signal };
  const { artifacts, missing } = await fetchArtifacts({ ...options, leftOut: `${PROFILE_ARTIFACTS}/` });
  const over = new AbortController();
  const reading = readApps(artifacts, { emit, signal: AbortSignal.any([signal, over.signal]) });
  try {
    // Artifacts are uploaded before the result is reported, because until then the log is shipped and beats
    // count, for any length of time.
    const stored = await uploadArtifacts(artifacts, {
      ...{ store: artifactStore, emit, giveUpAfterMs: limits.outageMs, signal },
      uploads: journal.state.uploads,
      onBegun: (sha256, id) => journal.update({ uploads: { ...journal.state.uploads, [sha256]: id } }),
    });
    return { stored: await withApps(context, stored, await reading), missing };
  } finally {
    over.abort();
    await reading;
  }
}

/**
 * Adds to each artifact the metadata read from it. If an icon cannot be stored, only the icon is left out.
 */
async function withApps(
  { artifactStore, limits, emit, signal }: AttemptContext,
  stored: ArtifactReport[],
  apps: ReadonlyMap<string, AppOfArtifact>,
): Promise<ArtifactReport[]> {
  const reports: ArtifactReport[] = [];
  for (const report of stored) {
    const { app, icon = null } = apps.get(report.name) ?? {};
    const answer = icon && (await artifactStore.upload(icon, { giveUpAfterMs: limits.outageMs, signal }));
    const lost = answer !== null && !answer.ok;
    if (lost) emit({ type: 'warning', message: `the icon of ${report.name} could not be stored: ${answer.message}` });
    reports.push(app ? { ...report, app: lost ? { ...app, icon: null } : app } : report);
  }
  return reports;
}
