/** Collects the facts about a project that its first build depends on. */
import { readEasJson } from '../eas-json.ts';
import { readJson } from '../formats/json.ts';
import { type PackageManager, packageManagerOf } from '../package-manager.ts';
import { type ProjectFiles, pathIn } from '../project-files.ts';
import { toolVersions } from '../tool-versions.ts';
import { workflowOf } from '../workflow.ts';
import { type Installs, type NativeBuild, nativeBuilds } from './native-builds.ts';

const LIMITS = { maxBytes: 1024 * 1024, maxDepth: 100 };
const NAME_MAX_CHARS = 100;

/** own: it is in the source. made_by_prebuild: Expo makes it in the VM. */
export type NativeFolder = 'own' | 'made_by_prebuild' | 'none';

export interface Survey {
  /** The name in package.json. */
  name: string | null;
  isExpo: boolean;
  manager: PackageManager | null;
  /** Null: there is none. */
  easJson: { profiles: string[]; problem: null } | { profiles: null; problem: string } | null;
  folders: Record<'ios' | 'android', NativeFolder>;
  /** The proposed commands that build the native folders of the source. */
  builds: Record<'ios' | 'android', NativeBuild | null>;
  /** Sentences on files that cannot be read or are unusual. */
  notes: string[];
}

export async function surveyProject(files: ProjectFiles, appRoot: string): Promise<Survey> {
  const packageJson = await readJson(files, pathIn(appRoot, 'package.json')!, LIMITS);
  const notes: string[] = packageJson !== null && !packageJson.ok ? [packageJson.problem] : [];
  const whole = packageJson?.ok ? (packageJson.value as PackageJson | null) : null;
  const isExpo = typeof whole?.dependencies?.expo === 'string';
  const installs = whole === null ? null : await installsOf(files, appRoot, notes);
  const builds = nativeBuilds(files, appRoot, installs);
  const folderOf = async (platform: 'ios' | 'android'): Promise<NativeFolder> => {
    if ((await workflowOf(files, appRoot, platform)) === 'generic' || (builds[platform] !== null && !isExpo))
      return 'own';
    return isExpo ? 'made_by_prebuild' : 'none';
  };
  return {
    name: typeof whole?.name === 'string' ? whole.name.slice(0, NAME_MAX_CHARS) : null,
    isExpo,
    manager: installs?.manager ?? null,
    easJson: await easJsonOf(files, appRoot),
    folders: { ios: await folderOf('ios'), android: await folderOf('android') },
    builds,
    notes,
  };
}

interface PackageJson {
  name?: unknown;
  dependencies?: { expo?: unknown };
}

async function installsOf(
  files: ProjectFiles,
  appRoot: string,
  notes: string[],
): Promise<(Installs & { manager: PackageManager }) | null> {
  const manager = await packageManagerOf(files, appRoot);
  if (!manager.ok) {
    notes.push(manager.problem);
    return null;
  }
  notes.push(...manager.notes);
  const { manager: name, workspaceRoot } = manager.value;
  const tools = await toolVersions(files, appRoot, workspaceRoot, {}, name);
  const version = tools.ok ? (tools.value.find((tool) => tool.name === name)?.version ?? null) : null;
  return { manager: manager.value, version };
}

async function easJsonOf(files: ProjectFiles, appRoot: string): Promise<Survey['easJson']> {
  if (!files.paths.has(pathIn(appRoot, 'eas.json')!)) return null;
  const read = await readEasJson(files, appRoot);
  return read.ok
    ? { profiles: [...read.value.profiles.keys()], problem: null }
    : { profiles: null, problem: read.problem };
}
