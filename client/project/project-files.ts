/**
 * Defines access to the files of a project, from any origin, and lets other files override them.
 *
 * Paths are relative to the root of the source, with `/` between their parts, such as `apps/mobile/eas.json`.
 *
 * Invariant: it reads nothing outside the source. A link out of it counts as a missing file.
 */

/**
 * Names that are left out of every source, at any depth, because the build makes them again or does not need
 * them.
 */
export const LEFT_OUT = ['node_modules', '.git'] as const;

/**
 * Whether a part of the path is left out of every source. The disk of a Mac ignores the case of a name, so
 * `.GIT` is a repository too. Its configuration may have tokens.
 */
export const isLeftOut = (path: string): boolean =>
  path.split(/[/\\]/).some((part) => (LEFT_OUT as readonly string[]).includes(part.toLowerCase()));

/** A larger file is no configuration. Lock files of large workspaces have some MB. */
export const PROJECT_FILE_MAX_BYTES = 16 * 1024 * 1024;

export interface ProjectFiles {
  /** The paths of all regular files. */
  readonly paths: ReadonlySet<string>;
  /** Null if there is no such file, or if it is larger than {@link PROJECT_FILE_MAX_BYTES}. */
  read(path: string): Promise<Buffer | null>;
  /** False if reading the file takes a pass over the whole source. Without this function, no file does. */
  isAtHand?(path: string): boolean;
}

/**
 * Whether macOS wrote this file beside the one without `._`, to store its attributes (AppleDouble). The tar
 * of macOS puts such files into archives, and no project needs them.
 */
export const isAppleDouble = (path: string): boolean => path.startsWith('._', path.lastIndexOf('/') + 1);

/** The files in `over` override `files`, as the secret files of a build override those of its source. */
export function withFilesOver(files: ProjectFiles, over: ReadonlyMap<string, Buffer>): ProjectFiles {
  return {
    paths: new Set([...files.paths, ...over.keys()]),
    read: async (path) => over.get(path) ?? (await files.read(path)),
    isAtHand: (path) => over.has(path) || files.isAtHand?.(path) !== false,
  };
}

/** Joins a folder of the source, `.` for its root, and a path below it. Null if that leads out. */
export function pathIn(folder: string, path: string): string | null {
  const parts: string[] = [];
  if (path.startsWith('/') || path.includes('\0')) return null;
  for (const part of `${folder}/${path}`.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) return null;
  }
  return parts.length === 0 ? '.' : parts.join('/');
}
