/**
 * Proposes a command and its artifacts for `expo-build.json`, for a native project that has no profiles.
 * Pure.
 *
 * The app for iOS is one for the simulator, because it needs no certificate. People are expected to change
 * both commands.
 */
import type { PackageManager } from '../package-manager.ts';
import type { ProjectFiles } from '../project-files.ts';

export interface NativeBuild {
  command: string;
  artifacts: string[];
}

/** The results of `packageManagerOf` and `toolVersions`. Null for a project without package.json. */
export interface Installs {
  manager: Pick<PackageManager, 'manager' | 'install' | 'workspaceRoot'>;
  /** The version of the manager. Null for the npm of the image. */
  version: string | null;
}

/** Null for a platform whose native project is not in the source. */
export function nativeBuilds(
  files: ProjectFiles,
  appRoot: string,
  installs: Installs | null,
): { ios: NativeBuild | null; android: NativeBuild | null } {
  const before = installs === null ? [] : [installLine(appRoot, installs)];
  const paths = pathsBelow(files, appRoot);
  return { ios: xcodeBuild(paths, before), android: gradleBuild(paths, before) };
}

/** The paths in the folder of the app, relative to it. */
function pathsBelow(files: ProjectFiles, appRoot: string): string[] {
  if (appRoot === '.') return [...files.paths];
  return [...files.paths].flatMap((path) => (path.startsWith(`${appRoot}/`) ? [path.slice(appRoot.length + 1)] : []));
}

function installLine(appRoot: string, { manager, version }: Installs): string {
  const { manager: name, install, workspaceRoot } = manager;
  // The image has only npm. npx fetches the others except for Bun, whose package needs an install script.
  const exact = (version ?? '').split('+')[0]!;
  const program = name === 'yarn' && !/^[01]\./.test(exact) ? '@yarnpkg/cli-dist' : name;
  const words =
    name === 'npm' || name === 'bun' || exact === ''
      ? install
      : install.replace(new RegExp(`^${name}\\b`), `npx --yes ${program}@${exact}`);
  const up = workspaceRoot === appRoot ? '' : upTo(appRoot, workspaceRoot);
  return up === '' ? words : `(cd ${up} && ${words})`;
}

function upTo(appRoot: string, workspaceRoot: string): string {
  const below = workspaceRoot === '.' ? appRoot : appRoot.slice(workspaceRoot.length + 1);
  return below
    .split('/')
    .map(() => '..')
    .join('/');
}

function xcodeBuild(paths: readonly string[], before: readonly string[]): NativeBuild | null {
  for (const folder of ['ios/', '']) {
    const projects = paths.filter((path) => inFolder(path, folder, /^[^/]+\.xcodeproj\/project\.pbxproj$/)).sort();
    if (projects.length === 0) continue;
    const name = projects[0]!.slice(folder.length, -'.xcodeproj/project.pbxproj'.length);
    const schemes = paths
      .flatMap((path) =>
        inFolder(path, folder, /^[^/]+\.xc(odeproj|workspace)\/xcshareddata\/xcschemes\/[^/]+\.xcscheme$/)
          ? [path.split('/').at(-1)!.slice(0, -'.xcscheme'.length)]
          : [],
      )
      .filter((scheme) => !/tvOS|watchOS|Tests$/.test(scheme))
      .sort();
    const scheme = schemes.includes(name) ? name : (schemes[0] ?? name);
    const hasPods = paths.includes(`${folder}Podfile`);
    const hasWorkspace =
      hasPods || paths.some((path) => path === `${folder}${name}.xcworkspace/contents.xcworkspacedata`);
    const place = quoted(`${folder}${name}`);
    return {
      command: [
        'set -e',
        ...before,
        ...(hasPods ? [folder === '' ? 'pod install' : '(cd ios && pod install)'] : []),
        `xcodebuild ${hasWorkspace ? `-workspace ${suffixed(place, '.xcworkspace')}` : `-project ${suffixed(place, '.xcodeproj')}`} \\`,
        `  -scheme ${quoted(scheme)} -configuration Release -sdk iphonesimulator \\`,
        "  -destination 'generic/platform=iOS Simulator' -derivedDataPath build/ios CODE_SIGNING_ALLOWED=NO build",
      ].join('\n'),
      artifacts: ['build/ios/Build/Products/Release-iphonesimulator/*.app'],
    };
  }
  return null;
}

function gradleBuild(paths: readonly string[], before: readonly string[]): NativeBuild | null {
  for (const folder of ['android/', '']) {
    const isApp = paths.some((path) => inFolder(path, folder, /^app\/build\.gradle(\.kts)?$/));
    if (!isApp || !paths.includes(`${folder}gradlew`)) continue;
    const run = 'sh ./gradlew :app:assembleRelease --no-daemon';
    return {
      command: ['set -e', ...before, folder === '' ? run : `(cd android && ${run})`].join('\n'),
      artifacts: [`${folder}app/build/outputs/apk/**/*.apk`],
    };
  }
  return null;
}

const inFolder = (path: string, folder: string, rest: RegExp): boolean =>
  path.startsWith(folder) && rest.test(path.slice(folder.length));

/** Quotes a name for the shell, because it comes from the project. */
const quoted = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

const suffixed = (place: string, suffix: string): string =>
  place.endsWith("'") ? `${place.slice(0, -1)}${suffix}'` : `${place}${suffix}`;
