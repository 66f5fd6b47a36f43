/**
 * Chooses the version of the package manager for a project that names none: one that reads its lock file
 * unchanged.
 *
 * The versions are fixed, so that a build next month uses the same ones. They are from November 2026.
 */
import { type ProjectFiles, pathIn } from '../project-files.ts';
import { foldersUp, type Manager } from './package-manager-field.ts';
import { readText } from './read-file.ts';

/** A lock file names its form within this many characters. */
const HEAD_LENGTH = 1000;
const SETTINGS_MAX_CHARS = 64 * 1024;

interface DefaultVersion {
  version: string;
  /** Follows the version in a sentence. */
  because: string;
}

const YARN_CLASSIC = '1.22.22';
/** Each entry is a form of the lock file, and the newest Yarn that writes it. */
const MODERN_YARNS = [
  [4, '2.4.2'],
  [6, '3.8.6'],
  [8, '4.9.2'],
] as const;
const NEWEST_YARN = '4.18.1';

const PNPMS = [
  [5, '7.33.7'],
  [6, '8.15.9'],
] as const;
const NEWEST_PNPM = '10.34.8';

const NEWEST_BUN = '1.4.5';

export async function defaultVersion(
  files: ProjectFiles,
  appRoot: string,
  workspaceRoot: string,
  manager: Exclude<Manager, 'npm'>,
): Promise<DefaultVersion> {
  const head = async (name: string) => (await readText(files, pathIn(workspaceRoot, name), HEAD_LENGTH)) ?? '';
  switch (manager) {
    case 'bun':
      return { version: NEWEST_BUN, because: 'the newest that Tartbeat knows' };
    case 'pnpm': {
      const form = Number(/^lockfileVersion:\s*'?(\d+)/m.exec(await head('pnpm-lock.yaml'))?.[1] ?? Number.NaN);
      const version = PNPMS.find(([last]) => form <= last)?.[1] ?? NEWEST_PNPM;
      return { version, because: 'which reads its lock file' };
    }
    case 'yarn': {
      const fromFile = await yarnOfProject(files, appRoot, workspaceRoot);
      if (fromFile !== null) return { version: fromFile, because: 'which `yarnPath` in .yarnrc.yml names' };
      const lock = await head('yarn.lock');
      const rc = foldersUp(appRoot, workspaceRoot).some((folder) =>
        files.paths.has(pathIn(folder, '.yarnrc.yml') ?? ''),
      );
      if (/yarn lockfile v1/i.test(lock) && !rc) return { version: YARN_CLASSIC, because: 'which reads its lock file' };
      if (lock === '' && !rc) return { version: YARN_CLASSIC, because: 'because there is no lock file' };
      const form = Number(/^__metadata:\s*\n\s+version:\s*"?(\d+)/m.exec(lock)?.[1] ?? Number.NaN);
      const version = MODERN_YARNS.find(([last]) => form <= last)?.[1] ?? NEWEST_YARN;
      return { version, because: 'which reads its lock file' };
    }
  }
}

/** If the project has a Yarn of its own, any other Yarn starts that one. */
async function yarnOfProject(files: ProjectFiles, appRoot: string, workspaceRoot: string): Promise<string | null> {
  for (const folder of foldersUp(appRoot, workspaceRoot)) {
    const text = await readText(files, pathIn(folder, '.yarnrc.yml'), SETTINGS_MAX_CHARS);
    const version = /^yarnPath:.*yarn-(\d{1,5}\.\d{1,5}\.\d{1,5})\.[cm]?js/m.exec(text ?? '')?.[1];
    if (version !== undefined) return version;
  }
  return null;
}
