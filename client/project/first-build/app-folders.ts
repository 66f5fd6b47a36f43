/** Finds the apps of a repository that has several folders. */
import { type ProjectFiles, pathIn } from '../project-files.ts';

/** The folders that have an app, in `within` and below it, nearest to the root first: at most 20. */
export function appFoldersIn(files: ProjectFiles, within = '.'): string[] {
  const folders = new Set<string>();
  const marks = /^(?:eas\.json|app\.json|app\.config\.(?:json|[mc]?[jt]s))$/;
  for (const path of files.paths) {
    const end = path.lastIndexOf('/');
    const folder = end === -1 ? '.' : path.slice(0, end);
    if (within !== '.' && folder !== within && !folder.startsWith(`${within}/`)) continue;
    if (marks.test(path.slice(end + 1)) && files.paths.has(pathIn(folder, 'package.json')!)) folders.add(folder);
  }
  const depth = (folder: string) => (folder === '.' ? 0 : folder.split('/').length);
  return [...folders].sort((a, b) => depth(a) - depth(b) || (a < b ? -1 : 1)).slice(0, 20);
}
