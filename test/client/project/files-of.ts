/** A project as a table of paths and texts. */
import { type ProjectFiles, withFilesOver } from '../../../client/project/project-files.ts';

const NOTHING: ProjectFiles = { paths: new Set(), read: async () => null };

/** A value that is no text is written as JSON. */
export function filesOf(table: Record<string, unknown>): ProjectFiles {
  const entries = Object.entries(table).map(([path, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
    return [path, Buffer.from(text)] as const;
  });
  return withFilesOver(NOTHING, new Map(entries));
}
