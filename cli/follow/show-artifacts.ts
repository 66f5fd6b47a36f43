/** Shows the artifacts of a build, and downloads them if a folder is given. */
import type { BuildDetail } from '#contract';
import type { BuildsClient } from '../../client/builds-client.ts';
import { saveArtifacts } from '../artifacts/save-artifacts.ts';
import type { View } from './views/events.ts';

export const ownFolderOf = (buildId: string): string => `expo-build-${buildId}`;

interface ShowArtifactsOptions {
  view: View;
  /** Null: the artifacts are only named. */
  folder: string | null;
  names: readonly string[] | null;
  signal: AbortSignal;
}

export async function showArtifacts(
  client: BuildsClient,
  build: BuildDetail,
  { view, folder, names, signal }: ShowArtifactsOptions,
): Promise<void> {
  const { id: buildId } = build;
  if (folder === null) {
    for (const artifact of build.artifacts) view.show({ type: 'artifact', buildId, artifact, path: null });
    return;
  }
  await saveArtifacts(client, build, {
    ...{ folder, names, signal },
    onBytes: ({ name, size }, doneBytes) => view.show({ type: 'transfer', buildId, name, doneBytes, sizeBytes: size }),
    onSaved: (artifact, path) => view.show({ type: 'artifact', buildId, artifact, path }),
  });
}
