/** Reads what an app says of itself in its artifact. It runs in a child process alone (child-main.ts). */
import { readAndroidApp } from './android/app.ts';
import type { Budget } from './budget.ts';
import { readAppArchive } from './ios/app-archive.ts';
import { readIpa } from './ios/ipa.ts';
import type { OpenFile } from './open-file.ts';
import type { AppKind, Said } from './said.ts';

export interface ArtifactBytes {
  file: OpenFile;
  /** All bytes from the first. */
  stream(): AsyncIterable<Buffer>;
}

/** Null for an app of another system. Rejects with any error for a file that is damaged or no app. */
export async function readApp(kind: AppKind, { file, stream }: ArtifactBytes, budget: Budget): Promise<Said | null> {
  if (kind === 'app') return readAppArchive(stream(), budget);
  return kind === 'ipa' ? readIpa(file, budget) : readAndroidApp(kind, file, budget);
}
