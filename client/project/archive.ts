/** Packs a folder into the archive that a build is made from. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { create } from 'tar';
import { UPLOAD_MAX_BYTES } from '#contract';
import type { LocalFile } from '../blob-requests.ts';

/** Left out, because the build makes it again or does not need it. */
export const LEFT_OUT = ['node_modules', '.git'] as const;

export class SourceError extends Error {
  override name = 'SourceError';
}

/** Throws SourceError if the folder does not exist, or if the controller would refuse the archive. */
export async function packSource(projectDir: string, archivePath: string): Promise<LocalFile> {
  const project = await stat(projectDir).catch(() => null);
  if (!project?.isDirectory()) throw new SourceError(`${projectDir} is not a folder. Name the root of a project.`);
  // The archive has no owners and access times, so that the same folder always gives the same archive.
  await create(
    {
      cwd: projectDir,
      file: archivePath,
      gzip: { level: 6 },
      portable: true,
      filter: (path) => !path.split('/').some((part) => (LEFT_OUT as readonly string[]).includes(part)),
    },
    ['.'],
  );
  const { size: sizeBytes } = await stat(archivePath);
  if (sizeBytes > UPLOAD_MAX_BYTES)
    throw new SourceError(
      `The archive of ${projectDir} has ${sizeBytes} bytes, but the controller accepts at most ${UPLOAD_MAX_BYTES}. Remove files that the build does not need.`,
    );
  const hash = createHash('sha256');
  await pipeline(createReadStream(archivePath), hash);
  return { path: archivePath, sizeBytes, sha256: hash.digest('hex') };
}
