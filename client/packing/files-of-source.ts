/**
 * Reads files of a project on this disk by their paths in the source, for what is decided before the build.
 *
 * Invariant: nothing outside the root of the source is read, also not through a link.
 */
import { join } from 'node:path';
import { PROJECT_FILE_MAX_BYTES, type ProjectFiles, pathIn } from '../project/project-files.ts';
import { bytesBelow, realPathOf } from '../safe-files.ts';
import type { Source } from './list-source.ts';

/** `besides`: more files that are read although they do not go along in the archive. */
export function filesOfSource(
  { root, files }: Pick<Source, 'root' | 'files'>,
  besides: Iterable<string> = [],
): ProjectFiles {
  return {
    paths: new Set([...files.filter(({ kind }) => kind === 'file').map(({ path }) => path), ...besides]),
    read: async (path) => {
      const bytes = bytesBelow(root, path, PROJECT_FILE_MAX_BYTES + 1);
      return bytes === null || bytes.length > PROJECT_FILE_MAX_BYTES ? null : bytes;
    },
  };
}

/** A file beside eas.json, whether it goes along or not. */
export function fileBeside({ root, appRoot }: Pick<Source, 'root' | 'appRoot'>, name: string): ProjectFiles {
  const path = pathIn(appRoot, name)!;
  return filesOfSource({ root, files: [] }, realPathOf(join(root, path)) === null ? [] : [path]);
}
