/**
 * Tells whether a project keeps its native folders in the source (generic), or has `expo prebuild` make them
 * (managed). The rule is the one of eas-cli: a native project that exists but is ignored counts as made.
 */
import { type IgnoreRules, ignoreRules, isIgnored } from './formats/gitignore.ts';
import { textOf } from './formats/text.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';

/** A .gitignore in a deeper folder is ignored. */
const DEPTH_MAX = 30;

export type Workflow = 'managed' | 'generic';

export async function workflowOf(files: ProjectFiles, appRoot: string, platform: 'ios' | 'android'): Promise<Workflow> {
  const xcodeProject = platform === 'ios' ? xcodeProjectIn(files, appRoot) : null;
  const markers =
    platform === 'ios'
      ? xcodeProject === null
        ? []
        : [xcodeProject]
      : ['build.gradle', 'build.gradle.kts', 'src/main/AndroidManifest.xml']
          .map((name) => pathIn(appRoot, `android/app/${name}`))
          .filter((path) => path !== null && files.paths.has(path));
  for (const marker of markers) if (!(await isIgnoredInSource(files, marker!))) return 'generic';
  return 'managed';
}

/** The path of the project.pbxproj that eas-cli uses, or null. */
export function xcodeProjectIn(files: ProjectFiles, appRoot: string): string | null {
  const ios = pathIn(appRoot, 'ios');
  if (ios === null) return null;
  const candidates = [...files.paths].flatMap((path) => {
    if (!path.startsWith(`${ios}/`) || !path.endsWith('.xcodeproj/project.pbxproj')) return [];
    const folders = path
      .slice(ios.length + 1)
      .split('/')
      .slice(0, -2);
    if (folders.some((name) => /^(Carthage|Pods|vendor|node_modules|\..*)$/.test(name))) return [];
    const isInIos = folders.length === 0;
    return isInIos || !/test|example|sample/i.test(path.slice(ios.length)) ? [{ path, isInIos }] : [];
  });
  candidates.sort((a, b) => Number(b.isInIos) - Number(a.isInIos) || (a.path < b.path ? -1 : 1));
  return candidates[0]?.path ?? null;
}

/** An .easignore at the root of the source replaces all .gitignore files. */
async function isIgnoredInSource(files: ProjectFiles, path: string): Promise<boolean> {
  const easIgnore = await rulesIn(files, '.easignore');
  if (easIgnore !== null) return isIgnored(easIgnore, path);
  const folders = path.split('/').slice(0, -1);
  for (let depth = 0; depth <= folders.length && depth <= DEPTH_MAX; depth++) {
    const folder = folders
      .slice(0, depth)
      .map((name) => `${name}/`)
      .join('');
    const rules = await rulesIn(files, `${folder}.gitignore`);
    if (rules !== null && isIgnored(rules, path.slice(folder.length))) return true;
  }
  return false;
}

async function rulesIn(files: ProjectFiles, path: string): Promise<IgnoreRules | null> {
  const bytes = files.paths.has(path) ? await files.read(path) : null;
  return bytes === null ? null : ignoreRules(textOf(bytes) ?? '');
}
