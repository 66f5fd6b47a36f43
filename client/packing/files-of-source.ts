/**
 * Reads files of a project on this disk by their paths in the source, for decisions before the build.
 *
 * Invariant: it reads nothing outside the root of the source, also not through a link. A link in the source
 * stands for its target, as in the VM.
 */
import { join } from 'node:path';
import { PROJECT_FILE_MAX_BYTES, type ProjectFiles, pathIn } from '../project/project-files.ts';
import { bytesBelow, realPathOf } from '../safe-files.ts';
import type { Source } from './list-source.ts';
import { filesByLink, LINKED_NAMES_MAX } from './source-links.ts';

/** `besides`: more files that are read although they do not go along in the archive. */
export function filesOfSource(
  { root, files }: Pick<Source, 'root' | 'files'>,
  besides: Iterable<string> = [],
): ProjectFiles {
  const plain = new Set([...files.filter(({ kind }) => kind === 'file').map(({ path }) => path), ...besides]);
  const links = new Map(files.flatMap(({ path, kind, target }) => (kind === 'link' ? [[path, target] as const] : [])));
  const byLink = filesByLink(plain, links, LINKED_NAMES_MAX);
  return {
    paths: byLink.size === 0 ? plain : new Set([...plain, ...byLink.keys()]),
    read: async (path) => {
      const bytes = bytesBelow(root, byLink.get(path) ?? path, PROJECT_FILE_MAX_BYTES + 1);
      return bytes === null || bytes.length > PROJECT_FILE_MAX_BYTES ? null : bytes;
    },
  };
}

/** A file beside eas.json, whether it goes along or not. */
export function fileBeside({ root, appRoot }: Pick<Source, 'root' | 'appRoot'>, name: string): ProjectFiles {
  const path = pathIn(appRoot, name)!;
  return filesOfSource({ root, files: [] }, realPathOf(join(root, path)) === null ? [] : [path]);
}
