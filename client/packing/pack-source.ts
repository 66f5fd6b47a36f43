/** Packs a folder into the archive that a build is made from. */
import type { LocalFile } from '../blob-requests.ts';
import { writeArchive } from './archive.ts';
import { listSource } from './list-source.ts';

/** Throws SourceError if the folder cannot be packed. It may be empty. */
export async function packSource(projectDir: string, archivePath: string): Promise<LocalFile> {
  const { signal } = new AbortController();
  const { root, files } = await listSource({ appDir: projectDir, root: projectDir, mayBeEmpty: true, signal });
  return await writeArchive(root, files, archivePath, { signal });
}
