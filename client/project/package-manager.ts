/**
 * Says which package manager Expo's engine takes for a project, and with which words it installs.
 *
 * The engine looks at the lock files in the workspace root, in a fixed order, and at nothing else. This file
 * repeats that choice and adds what a person must know about it: a lock file that is not used, or none at
 * all.
 *
 * Invariant: the manager is the one that the engine takes. Where package.json asks for another one and the
 * lock files do not clearly say which, the answer is a problem and not a guess.
 */

import { declaredManager, type Manager } from './dependencies/package-manager-field.ts';
import { asRecord, readJson, readText } from './dependencies/read-file.ts';
import { findWorkspaceRoot } from './dependencies/workspace-root.ts';
import { type Found, found, problem } from './found.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';

/** In the order in which the engine looks for them. The first that exists decides. */
export const LOCK_FILES = [
  ['bun.lock', 'bun'],
  ['bun.lockb', 'bun'],
  ['yarn.lock', 'yarn'],
  ['package-lock.json', 'npm'],
  ['pnpm-lock.yaml', 'pnpm'],
] as const satisfies readonly (readonly [string, Manager])[];

/** Expo's projects have a lock file that can be used as it is from this SDK and this React Native on. */
const FIRST_FROZEN_SDK = 53;
const FIRST_FROZEN_REACT_NATIVE = 79;

export interface PackageManager {
  manager: Manager;
  /** Yarn 2 and newer. */
  modernYarn: boolean;
  /** `.` or a folder at or above the app. */
  workspaceRoot: string;
  /** Relative to the source's root. Null if there is none. */
  lockFile: string | null;
  /** The words of the install command. */
  install: string;
}

export async function packageManagerOf(files: ProjectFiles, appRoot: string): Promise<Found<PackageManager>> {
  const appJson = pathIn(appRoot, 'package.json');
  if (appJson === null || !files.paths.has(appJson))
    return problem(`There is no package.json in ${folderName(appRoot)}, so this is no Expo project. ${APP_FOLDER}`);
  const json = await readJson(files, appJson);
  if (json === null || typeof json !== 'object')
    return problem(`${appJson} is not valid JSON. Correct it, and submit the build again.`);

  const workspaceRoot = await findWorkspaceRoot(files, appRoot);
  const inRoot = (name: string) => pathIn(workspaceRoot, name)!;
  const present = LOCK_FILES.filter(([name]) => files.paths.has(inRoot(name)));
  const manager: Manager = present[0]?.[1] ?? 'yarn';
  const lockFile = present[0] === undefined ? null : inRoot(present[0][0]);
  const declared = (await declaredManager(files, appRoot, workspaceRoot))?.name ?? null;
  const where = folderName(workspaceRoot);
  const notes: string[] = [];

  if (lockFile !== null && manager === 'yarn' && (await readText(files, lockFile))?.trim() === '')
    return problem(
      `${lockFile} is empty, but it makes Expo's engine install with Yarn 2 or newer, which then fails. Delete ${lockFile}${
        present[1] === undefined
          ? ', or run `yarn install` and commit what it writes'
          : `, so that ${inRoot(present[1][0])} counts`
      }.`,
    );

  const managers = [...new Set(present.map(([, name]) => name))];
  if (managers.length > 1) {
    const names = present.map(([name]) => inRoot(name)).join(' and ');
    if (declared !== null && declared !== manager && managers.includes(declared))
      return problem(
        `${where} has ${names}. Expo's engine takes the first, which means ${manager}, but package.json asks for ${declared} in \`packageManager\`. Delete the lock files that are not ${declared}'s.`,
      );
    notes.push(
      `${where} has ${names}. Expo's engine takes ${lockFile} and installs with ${manager}. Delete the others, so that nobody is surprised.`,
    );
  } else if (lockFile === null) {
    const unused = await lockFileOfApp(files, appRoot, workspaceRoot);
    const missing = unused === null ? '' : ` (${unused} is not used, because ${where} is the root of the workspace)`;
    if (declared !== null && declared !== 'yarn')
      return problem(
        `${where} has no lock file${missing}. Expo's engine would install with Yarn, but package.json asks for ${declared} in \`packageManager\`. Run \`${declared} install\` and commit the lock file that it writes.`,
      );
    notes.push(
      `${where} has no lock file${missing}. Expo's engine then installs with Yarn, and takes the newest version of each package that fits. Commit a lock file, so that every build gets the same packages.`,
    );
  } else if (declared !== null && declared !== manager)
    notes.push(
      `package.json asks for ${declared} in \`packageManager\`, but Expo's engine goes by ${lockFile} and installs with ${manager}.`,
    );

  if (lockFile !== null && workspaceRoot !== appRoot) {
    const unused = await lockFileOfApp(files, appRoot, workspaceRoot);
    if (unused !== null)
      notes.push(`${unused} is not used: ${where} is the root of the workspace, and its ${lockFile} counts.`);
  }

  const modernYarn = manager === 'yarn' && (await isModernYarn(files, appRoot, workspaceRoot, lockFile));
  const frozen = await canBeFrozen(files, appJson);
  const install = installWords(manager, modernYarn, frozen);
  return found({ manager, modernYarn, workspaceRoot, lockFile, install }, notes);
}

const APP_FOLDER = 'If the app lies in another folder of the source, name that folder in the request.';

/** The engine's own words, for a project whose lock file may be used as it is, and for an older one. */
export function installWords(manager: Manager, modernYarn: boolean, frozen: boolean): string {
  switch (manager) {
    case 'npm':
      return `npm ${frozen ? 'ci' : 'install'} --include=dev`;
    case 'pnpm':
      return `pnpm install ${frozen ? '--frozen-lockfile' : '--no-frozen-lockfile'}`;
    case 'bun':
      return `bun install${frozen ? ' --frozen-lockfile' : ''}`;
    case 'yarn':
      if (modernYarn) return `yarn install --inline-builds ${frozen ? '--immutable' : '--no-immutable'}`;
      return `yarn install${frozen ? ' --frozen-lockfile' : ''} --production false`;
  }
}

async function isModernYarn(files: ProjectFiles, appRoot: string, workspaceRoot: string, lockFile: string | null) {
  for (const folder of [appRoot, workspaceRoot]) if (files.paths.has(pathIn(folder, '.yarnrc.yml') ?? '')) return true;
  const lock = lockFile === null ? null : await readText(files, lockFile);
  // The engine reads as much of the file.
  return lock !== null && !/yarn lockfile v1/i.test(lock.slice(0, 100));
}

async function canBeFrozen(files: ProjectFiles, appJson: string): Promise<boolean> {
  const { dependencies, devDependencies } = asRecord(await readJson(files, appJson));
  const wanted = { ...asRecord(devDependencies), ...asRecord(dependencies) };
  const [sdk] = numbersIn(wanted.expo);
  const [major, minor] = numbersIn(wanted['react-native']);
  if (sdk !== undefined && sdk < FIRST_FROZEN_SDK) return false;
  return !(major === 0 && minor !== undefined && minor < FIRST_FROZEN_REACT_NATIVE);
}

const numbersIn = (version: unknown): number[] =>
  typeof version === 'string' ? (/\d+(\.\d+)*/.exec(version)?.[0].split('.').map(Number) ?? []) : [];

async function lockFileOfApp(files: ProjectFiles, appRoot: string, workspaceRoot: string): Promise<string | null> {
  if (appRoot === workspaceRoot) return null;
  const paths = LOCK_FILES.map(([name]) => pathIn(appRoot, name)!);
  return paths.find((path) => files.paths.has(path)) ?? null;
}

const folderName = (folder: string) => (folder === '.' ? "the source's root" : folder);
