/** Reads the field `packageManager` of a package.json: a manager, its version, and perhaps a checksum. */
import { type ProjectFiles, pathIn } from '../project-files.ts';
import { asRecord, readJson } from './read-file.ts';

export type Manager = 'npm' | 'yarn' | 'pnpm' | 'bun';

interface DeclaredManager {
  name: Manager;
  /** All after the `@`, such as `10.15.0+sha512.ab…`. Empty if there is none. */
  version: string;
  /** The package.json that has the field. */
  file: string;
}

/**
 * Takes the nearest package.json that has the field, from the app up to the workspace's root, as Corepack
 * does.
 */
export async function declaredManager(
  files: ProjectFiles,
  appRoot: string,
  workspaceRoot: string,
): Promise<DeclaredManager | null> {
  for (const folder of foldersUp(appRoot, workspaceRoot)) {
    const file = pathIn(folder, 'package.json');
    const { packageManager } = asRecord(await readJson(files, file));
    if (file === null || typeof packageManager !== 'string') continue;
    const [, name, version] = /^(npm|yarn|pnpm|bun)(?:@(.*))?$/.exec(packageManager.trim()) ?? [];
    return name === undefined ? null : { name: name as Manager, version: version ?? '', file };
  }
  return null;
}

/** The app's folder, then each folder above it, up to the root of the workspace. */
export function foldersUp(appRoot: string, workspaceRoot: string): string[] {
  const folders = [appRoot];
  for (let folder = appRoot; folder !== workspaceRoot && folder !== '.'; ) {
    const parts = folder.split('/').slice(0, -1);
    folder = parts.length === 0 ? '.' : parts.join('/');
    folders.push(folder);
  }
  return folders;
}
