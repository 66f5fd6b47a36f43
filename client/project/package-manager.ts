/**
 * Says which package manager Expo's engine uses for a project, and with which command it installs.
 *
 * The engine looks at the lock files in the workspace root, in a fixed order. Without one it looks only at
 * the variable EAS_FALLBACK_PACKAGE_MANAGER. This file repeats that choice. It adds what a person must know
 * about it: that a lock file is not used, or that there is none.
 *
 * Invariant: the manager is the one that the engine uses. If package.json asks for another one, a note says
 * so. It reports a problem only if the engine itself would fail.
 */
import { declaredManager, type Manager } from './dependencies/package-manager-field.ts';
import { asRecord, readJson, readText } from './dependencies/read-file.ts';
import { findWorkspaceRoot } from './dependencies/workspace-root.ts';
import { named } from './formats/text.ts';
import { type Found, found, problem } from './found.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';

/** In the order in which the engine looks for them. The first that exists decides. */
const LOCK_FILES = [
  ['bun.lock', 'bun'],
  ['bun.lockb', 'bun'],
  ['yarn.lock', 'yarn'],
  ['package-lock.json', 'npm'],
  ['pnpm-lock.yaml', 'pnpm'],
] as const satisfies readonly (readonly [string, Manager])[];

/** From this SDK and this React Native on, the engine installs exactly the versions of the lock file. */
const FIRST_FROZEN_SDK = 53;
const FIRST_FROZEN_REACT_NATIVE = 79;

export interface PackageManager {
  manager: Manager;
  /** Yarn 2 and newer. */
  modernYarn: boolean;
  /** `.` or a folder at or above the app. */
  workspaceRoot: string;
  /** Relative to the source's root. Null if there is no lock file. */
  lockFile: string | null;
  /** The words of the install command. */
  install: string;
}

export interface ManagerContext {
  /** All variables of the build, because the engine reads some of them. */
  env?: Readonly<Record<string, string | undefined>>;
  /** The field of the build's profile. */
  yarn?: string | undefined;
}

export async function packageManagerOf(
  files: ProjectFiles,
  appRoot: string,
  { env = {}, yarn }: ManagerContext = {},
): Promise<Found<PackageManager>> {
  const appJson = pathIn(appRoot, 'package.json');
  if (appJson === null || !files.paths.has(appJson))
    return problem(`There is no package.json in ${folderName(appRoot)}, so this is no Expo project. ${APP_FOLDER}`);
  const json = await readJson(files, appJson);
  if (json === null || typeof json !== 'object')
    return problem(`${appJson} is not valid JSON. Correct it, and submit the build again.`);

  const { root: workspaceRoot, unread } = await findWorkspaceRoot(files, appRoot);
  const inRoot = (name: string) => pathIn(workspaceRoot, name)!;
  const present = LOCK_FILES.filter(([name]) => files.paths.has(inRoot(name)));
  const fallback = env[FALLBACK] || undefined;
  if (present.length === 0 && fallback !== undefined && !isManager(fallback))
    return problem(
      `The variable ${FALLBACK} is ${named(fallback)}, which Expo's engine refuses. Set it to ${MANAGERS.join(', ')}, or commit a lock file.`,
    );
  const manager: Manager = present[0]?.[1] ?? (isManager(fallback) ? fallback : 'yarn');
  const lockFile = present[0] === undefined ? null : inRoot(present[0][0]);
  const declared = await declaredManager(files, appRoot, workspaceRoot);
  const asked = declared?.name ?? null;
  const where = folderName(workspaceRoot);
  const notes = unread
    .slice(0, 5)
    .map(
      ({ file, glob }) =>
        `The glob ${named(glob)} in ${file} is not looked at, because it could take for ever to compare. If it is to list the app, write it without groups that repeat.`,
    );
  if (env.EAS_OVERRIDE_PACKAGE_MANAGER)
    notes.push(
      `EAS_OVERRIDE_PACKAGE_MANAGER does not choose what installs the dependencies: Expo's engine goes by the lock file, and without one by ${FALLBACK}.`,
    );

  if (present.length > 1 && new Set(present.map(([, name]) => name)).size > 1)
    notes.push(
      `${where} has ${present.map(([name]) => inRoot(name)).join(' and ')}. Expo's engine takes ${lockFile} and installs with ${manager}${askedFor(asked, manager)}. Delete the others, so that nobody is surprised.`,
    );
  else if (lockFile === null) {
    const unused = await lockFileOfApp(files, appRoot, workspaceRoot);
    const missing = unused === null ? '' : ` (${unused} is not used, because ${where} is the root of the workspace)`;
    notes.push(
      `${where} has no lock file${missing}. Expo's engine then installs with ${titleOf(manager)}${fallback === undefined ? '' : `, as ${FALLBACK} says`}${askedFor(asked, manager)}, and takes the newest version of each package that fits. Commit a lock file, so that every build gets the same packages.`,
    );
  } else if (asked !== null && asked !== manager)
    notes.push(
      `package.json asks for ${asked} in \`packageManager\`, but Expo's engine goes by ${lockFile} and installs with ${manager}.`,
    );

  if (lockFile !== null && workspaceRoot !== appRoot) {
    const unused = await lockFileOfApp(files, appRoot, workspaceRoot);
    if (unused !== null)
      notes.push(`${unused} is not used: ${where} is the root of the workspace, and its ${lockFile} counts.`);
  }

  const modernYarn = manager === 'yarn' && (await isModernYarn(files, appRoot, workspaceRoot, lockFile));
  const frozen = !env.EAS_NO_FROZEN_LOCKFILE && (await canBeFrozen(files, appJson));
  if (lockFile !== null && manager === 'yarn' && (await readText(files, lockFile))?.trim() === '') {
    const others = present.slice(1).map(([name]) => inRoot(name));
    const fix =
      others.length === 0 ? 'run `yarn install` and commit what it writes' : `delete it, so that ${others[0]} counts`;
    // Yarn 1 accepts the flags that are meant for a newer Yarn, and ignores them.
    const hasSettings = [appRoot, workspaceRoot].some((folder) => files.paths.has(pathIn(folder, '.yarnrc.yml') ?? ''));
    const version = yarn ?? (declared?.name === 'yarn' && declared.version !== '' ? declared.version : undefined);
    const isYarn1 = version === undefined ? !hasSettings : /^[v=^~]{0,2}[01](\.|$)/.test(version);
    if (frozen && !isYarn1)
      return problem(
        `${lockFile} is empty, and Expo's engine installs with \`--immutable\`, with which Yarn 2 and newer fail. To build, ${fix}.`,
      );
    notes.push(`${lockFile} is empty, so Yarn takes the newest version of each package that fits. Better, ${fix}.`);
  }
  const install = installWords(manager, modernYarn, frozen, env);
  return found({ manager, modernYarn, workspaceRoot, lockFile, install }, notes);
}

const FALLBACK = 'EAS_FALLBACK_PACKAGE_MANAGER';
const MANAGERS = ['yarn', 'npm', 'pnpm', 'bun'] as const satisfies readonly Manager[];
const isManager = (name: string | undefined): name is Manager => (MANAGERS as readonly unknown[]).includes(name);
const titleOf = (manager: Manager) => (manager === 'yarn' ? 'Yarn' : manager);
const askedFor = (asked: Manager | null, manager: Manager) =>
  asked === null || asked === manager ? '' : `, although package.json asks for ${asked} in \`packageManager\``;

const APP_FOLDER = 'If the app lies in another folder of the source, name that folder in the request.';

/** The engine's own command. `frozen`: it must install exactly the versions of the lock file. */
export function installWords(
  manager: Manager,
  modernYarn: boolean,
  frozen: boolean,
  env: Readonly<Record<string, string | undefined>> = {},
): string {
  // The command is split at blanks later, so a value with a blank cannot be passed on.
  const only = (words: string, name: string) =>
    /^[^\s\0]{1,200}$/.test(env[name] ?? '') ? ` ${words} ${env[name]}` : '';
  switch (manager) {
    case 'npm':
      return `npm ${frozen ? 'ci' : 'install'} --include=dev`;
    case 'pnpm':
      return `pnpm install${only('--filter', 'EAS_PNPM_FILTER_WORKSPACE')} ${frozen ? '--frozen-lockfile' : '--no-frozen-lockfile'}`;
    case 'bun':
      return `bun install${only('--filter', 'EAS_BUN_FILTER_WORKSPACE')}${frozen ? ' --frozen-lockfile' : ''}`;
    case 'yarn':
      if (modernYarn && only('', 'EAS_YARN_FOCUS_WORKSPACE') !== '')
        return `yarn workspaces focus ${env.EAS_YARN_FOCUS_WORKSPACE}`;
      if (modernYarn) return `yarn install --inline-builds ${frozen ? '--immutable' : '--no-immutable'}`;
      return `yarn install${frozen ? ' --frozen-lockfile' : ''} --production false`;
  }
}

async function isModernYarn(files: ProjectFiles, appRoot: string, workspaceRoot: string, lockFile: string | null) {
  for (const folder of [appRoot, workspaceRoot]) if (files.paths.has(pathIn(folder, '.yarnrc.yml') ?? '')) return true;
  const lock = lockFile === null ? null : await readText(files, lockFile);
  // The engine also reads only this part of the file.
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
  typeof version === 'string' ? (/\d+(\.\d+)*/.exec(version.slice(0, 100))?.[0].split('.').map(Number) ?? []) : [];

async function lockFileOfApp(files: ProjectFiles, appRoot: string, workspaceRoot: string): Promise<string | null> {
  if (appRoot === workspaceRoot) return null;
  const paths = LOCK_FILES.map(([name]) => pathIn(appRoot, name)!);
  return paths.find((path) => files.paths.has(path)) ?? null;
}

const folderName = (folder: string) => (folder === '.' ? "the source's root" : folder);
