/** A project as a list of files, none of which is on a disk. */
import type { ProjectFiles } from '../../../../client/project/project-files.ts';

export function filesOf(files: Record<string, string | Buffer>): ProjectFiles {
  const all = new Map(Object.entries(files));
  return {
    paths: new Set(all.keys()),
    read: async (path) => {
      const content = all.get(path);
      return content === undefined ? null : Buffer.from(content);
    },
  };
}
