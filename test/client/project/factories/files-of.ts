/** Makes the files of a project: from a table of paths and texts, or from a folder. */
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  isAppleDouble,
  LEFT_OUT,
  PROJECT_FILE_MAX_BYTES,
  type ProjectFiles,
  withFilesOver,
} from '../../../../client/project/project-files.ts';

const NOTHING: ProjectFiles = { paths: new Set(), read: async () => null };

/** A value that is neither bytes nor text is written as JSON. */
export function filesOf(table: Record<string, unknown>): ProjectFiles {
  const entries = Object.entries(table).map(([path, value]) => {
    if (Buffer.isBuffer(value)) return [path, value] as const;
    const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
    return [path, Buffer.from(text)] as const;
  });
  return withFilesOver(NOTHING, new Map(entries));
}

/** The files below a folder on this disk, without those that no archive gets. */
export async function filesInFolder(folder: string): Promise<ProjectFiles> {
  const paths = new Set<string>();
  const look = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      if ((LEFT_OUT as readonly string[]).includes(entry.name) || isAppleDouble(entry.name)) continue;
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) await look(path);
      else if (entry.isFile()) paths.add(path);
    }
  };
  await look('');
  return {
    paths,
    async read(path) {
      if (!paths.has(path)) return null;
      const { size } = await lstat(join(folder, path));
      return size > PROJECT_FILE_MAX_BYTES ? null : await readFile(join(folder, path));
    },
  };
}
