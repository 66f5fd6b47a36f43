/**
 * Finds the scheme that an iOS build builds and the targets that it signs, as eas-cli does. Expo's engine
 * needs a certificate and a profile for each of these targets by its name.
 */
import type { BuildProfile } from './build-profile.ts';
import { listed, named, textOf } from './formats/text.ts';
import { readXcodeProject } from './formats/xcode-files.ts';
import { expanded, XcodeProject } from './formats/xcode-project.ts';
import { unescaped } from './formats/xml-text.ts';
import { type Found, found, problem } from './found.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';
import { type Workflow, xcodeProjectIn } from './workflow.ts';

const SCHEME_MAX_BYTES = 1024 * 1024;

export interface NativeTarget {
  scheme: string;
  /** The target whose product is the app. */
  applicationTarget: string;
  /** Null in a managed project: the scheme's own. */
  buildConfiguration: string | null;
  /** All signed targets, the app first. `bundleId`: null if the project has no plain value for it. */
  targets: { name: string; bundleId: string | null }[];
}

export interface AppExtension {
  targetName: string;
  bundleIdentifier: string;
}

/** The facts of the app's configuration that matter here. */
type App =
  | { kind: 'static'; file: string; name: string; appId: string | null; appExtensions: AppExtension[] }
  | { kind: 'dynamic' };

type Wanted = Pick<BuildProfile, 'scheme' | 'buildConfiguration'>;

/** Null if the target is known only after `expo prebuild`. */
export async function nativeTargetOf(
  files: ProjectFiles,
  appRoot: string,
  workflow: Workflow,
  profile: Wanted,
  app: App,
): Promise<Found<NativeTarget | null>> {
  if (workflow === 'generic') {
    const bare = await bareTarget(files, appRoot, profile);
    return bare.ok ? found(bare.value.target, bare.notes) : bare;
  }
  if (app.kind === 'dynamic') return found(null);
  const name = cleanedName(app.name);
  if (name === null)
    return found(null, [
      `\`name\` in ${app.file} has no Latin letter, so that the name of the Xcode target is not known yet.`,
    ]);
  return found({
    scheme: name,
    applicationTarget: name,
    buildConfiguration: null,
    targets: [
      { name, bundleId: app.appId },
      ...app.appExtensions.map(({ targetName, bundleIdentifier }) => ({
        name: targetName,
        bundleId: bundleIdentifier,
      })),
    ],
  });
}

/**
 * The name that `expo prebuild` gives scheme and target: letters and digits alone. Null if the name has none
 * of them. Expo then converts other alphabets to Latin letters.
 */
function cleanedName(name: string): string | null {
  const kept = (text: string) => text.replace(/[\W_]+/g, '');
  return kept(name) || kept(name.normalize('NFD')) || null;
}

/** The target of a project with an `ios` folder, and the settings that it is built with. */
export async function bareTarget(
  files: ProjectFiles,
  appRoot: string,
  { scheme: wanted, buildConfiguration }: Wanted,
): Promise<Found<{ target: NativeTarget; settings: ReadonlyMap<string, string> }>> {
  const path = xcodeProjectIn(files, appRoot);
  if (path === null) return problem(`${named(appRoot)} has no Xcode project in its \`ios\` folder. Commit it.`);
  const schemes = schemesIn(files, appRoot);
  const notes: string[] = [];
  if (wanted === undefined && schemes.length === 0)
    return problem(
      `${path.replace(/\/project\.pbxproj$/, '')} has no shared scheme. Mark the app's scheme as "Shared" in Xcode (Manage Schemes), and commit the file.`,
    );
  const withoutTv = schemes.filter(({ name }) => !name.includes('tvOS'));
  const scheme = wanted ?? (schemes.length === 1 ? schemes : withoutTv.length > 0 ? withoutTv : schemes)[0]!.name;
  if (wanted === undefined && schemes.length > 1)
    notes.push(
      `Of the schemes ${listed(schemes.map(({ name }) => name))}, ${named(scheme)} is built. \`ios.scheme\` in eas.json names another.`,
    );

  // Case does not matter, as in eas-cli.
  const file = schemes.find(({ name }) => name.toLowerCase() === scheme.toLowerCase());
  if (file === undefined)
    return problem(
      `The scheme ${named(scheme)} is not in the source. ${schemes.length === 0 ? 'No scheme is shared' : `Shared are ${listed(schemes.map(({ name }) => name))}`}: correct \`ios.scheme\` in eas.json, or share the scheme in Xcode.`,
    );
  const bytes = await files.read(file.path);
  const xml = bytes !== null && bytes.length <= SCHEME_MAX_BYTES ? textOf(bytes) : null;
  const targetName = xml === null ? null : applicationIn(xml);
  const archived = xml === null ? null : attributeIn(sectionsOf(xml, 'ArchiveAction')[0] ?? '', 'buildConfiguration');
  if (targetName === null)
    return problem(
      `${file.path} names no app to build. Open the scheme in Xcode and add the app's target to its build.`,
    );
  const configuration = buildConfiguration ?? archived;

  const project = new XcodeProject(readXcodeProject(await files.read(path)));
  const application = project.targetNamed(targetName);
  if (application === null)
    return problem(
      `The scheme ${named(scheme)} builds the target ${named(targetName)}, which ${path} does not have. Correct the scheme in Xcode.`,
    );
  const targets = project.signedWith(application).map((one) => ({
    name: one.name,
    bundleId: bundleIdIn(project.settings(one, configuration)),
  }));
  return found(
    {
      target: { scheme, applicationTarget: application.name, buildConfiguration: configuration, targets },
      settings: project.settings(application, configuration),
    },
    notes,
  );
}

function bundleIdIn(settings: ReadonlyMap<string, string>): string | null {
  const id = expanded(settings.get('PRODUCT_BUNDLE_IDENTIFIER') ?? '', settings);
  return id !== null && /^[A-Za-z0-9.-]+$/.test(id) ? id : null;
}

function schemesIn(files: ProjectFiles, appRoot: string): { name: string; path: string }[] {
  const ios = pathIn(appRoot, 'ios')!;
  return [...files.paths]
    .flatMap((path) => {
      const name = path.startsWith(`${ios}/`)
        ? /^[^/]+\.xcodeproj\/xcshareddata\/xcschemes\/([^/]+)\.xcscheme$/.exec(path.slice(ios.length + 1))?.[1]
        : undefined;
      return name === undefined ? [] : [{ name, path }];
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The target that the scheme builds: its only one, else the first whose product is an app. */
function applicationIn(xml: string): string | null {
  const entries = sectionsOf(xml, 'BuildActionEntry').map((entry) => ({
    product: attributeIn(entry, 'BuildableName'),
    target: attributeIn(entry, 'BlueprintName'),
  }));
  const entry = entries.length === 1 ? entries[0] : entries.find(({ product }) => product?.endsWith('.app'));
  return entry?.target ?? null;
}

/** Each element of this name, from its `<` to its end. Xcode never nests two of the same name. */
function sectionsOf(xml: string, name: string): string[] {
  return xml
    .split(`<${name}`)
    .slice(1)
    .filter((rest) => /^[\s>/]/.test(rest))
    .map((rest) => rest.split(`</${name}>`, 1)[0]!);
}

/** The first attribute of this name. Xcode writes each on a line of its own, with spaces around `=`. */
function attributeIn(xml: string, name: string): string | null {
  for (let at = xml.indexOf(name); at !== -1; at = xml.indexOf(name, at + name.length)) {
    const value = /^\s*=\s*"([^"]*)"/.exec(xml.slice(at + name.length, at + name.length + 300))?.[1];
    if (value !== undefined && /\s/.test(xml[at - 1] ?? '')) return unescaped(value);
  }
  return null;
}
