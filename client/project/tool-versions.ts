/**
 * Says which version of each tool a build wants: Node, the project's own package manager, and for iOS
 * CocoaPods, fastlane and Bundler.
 *
 * A field of eas.json comes first. Then comes `packageManager` of package.json, for the manager. Then come
 * `.nvmrc` and `.node-version`, for Node. A manager without any version gets the one of `default-versions.ts`
 * that can read the project's lock file, because the image has none but npm.
 *
 * Invariant: the value has the tools in the order in which they are installed, Node first, and each version
 * is exact or the beginning of one, such as `22` or `22.11.0`. Anything else is refused by name.
 */
import { defaultVersion } from './dependencies/default-versions.ts';
import { declaredManager, foldersUp, type Manager } from './dependencies/package-manager-field.ts';
import { readText } from './dependencies/read-file.ts';
import { type Found, found, problem } from './found.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';

/** The fields of a resolved profile of eas.json that name a version. */
export interface ToolFields {
  node?: string | undefined;
  pnpm?: string | undefined;
  yarn?: string | undefined;
  bun?: string | undefined;
  cocoapods?: string | undefined;
  fastlane?: string | undefined;
  bundler?: string | undefined;
}

export interface ToolVersion {
  name: 'node' | Manager | 'cocoapods' | 'fastlane' | 'bundler';
  /** For a manager perhaps with a checksum: `10.15.0+sha512.ab…`. */
  version: string;
}

const EXACT = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;
const BEGINNING = /^\d+(\.\d+){0,2}(-[0-9A-Za-z.-]+)?$/;
const CHECKSUM = /^sha(224|256|384|512)\.[0-9a-f]+$/;
const GEMS = ['cocoapods', 'fastlane', 'bundler'] as const;

/** Node's release lines by the names that `.nvmrc` may use. */
const LTS_LINES: Record<string, string> = {
  argon: '4',
  boron: '6',
  carbon: '8',
  dubnium: '10',
  erbium: '12',
  fermium: '14',
  gallium: '16',
  hydrogen: '18',
  iron: '20',
  jod: '22',
  krypton: '24',
};

export async function toolVersions(
  files: ProjectFiles,
  appRoot: string,
  workspaceRoot: string,
  profile: ToolFields,
  manager: Manager,
): Promise<Found<ToolVersion[]>> {
  const tools: ToolVersion[] = [];
  const notes: string[] = [];

  const node = await nodeVersion(files, appRoot, workspaceRoot, profile);
  if (!node.ok) return node;
  if (node.value !== null) tools.push({ name: 'node', version: node.value });
  notes.push(...node.notes);

  const own = await managerVersion(files, appRoot, workspaceRoot, profile, manager);
  if (!own.ok) return own;
  if (own.value !== null) tools.push({ name: manager, version: own.value });
  notes.push(...own.notes);

  for (const other of ['pnpm', 'yarn', 'bun'] as const)
    if (profile[other] !== undefined && other !== manager)
      notes.push(
        `eas.json asks for ${other} ${printable(profile[other])}. It is not installed, because this project uses ${manager}.`,
      );

  for (const name of GEMS) {
    const version = profile[name];
    if (version === undefined) continue;
    if (!EXACT.test(version)) return notExact(name, version);
    tools.push({ name, version });
  }
  return found(tools, notes);
}

async function nodeVersion(
  files: ProjectFiles,
  appRoot: string,
  workspaceRoot: string,
  { node }: ToolFields,
): Promise<Found<string | null>> {
  if (node !== undefined) return EXACT.test(node) ? found(node) : notExact('node', node);
  for (const folder of foldersUp(appRoot, workspaceRoot))
    for (const name of ['.nvmrc', '.node-version']) {
      const file = pathIn(folder, name);
      const line = firstLine(await readText(files, file));
      if (line !== null) return nodeOfFile(file!, line);
    }
  return found(null, []);
}

/** What nvm and its successors allow in such a file. Some of their words have no fixed meaning. */
function nodeOfFile(file: string, line: string): Found<string | null> {
  const version = line.replace(/^(node-|v)/i, '').replace(/(\.[x*])+$/i, '');
  if (BEGINNING.test(version)) return found(version);
  const lts = /^lts[/-](.+)$/i.exec(line)?.[1]?.toLowerCase();
  if (lts === '*' || /^(lts|stable)$/i.test(line))
    return found(null, [
      `${file} says \`${line}\`. The build uses the image's own Node, which is of the long-term line that Node then recommends. Write a version, such as 22.11.0, to choose another.`,
    ]);
  const major = lts === undefined ? undefined : LTS_LINES[lts];
  if (major !== undefined) return found(major);
  return problem(
    `${file} says \`${printable(line)}\`, which names no fixed version of Node. Write a version there, such as \`22\` or \`22.11.0\`, or set \`node\` in the profile of eas.json.`,
  );
}

async function managerVersion(
  files: ProjectFiles,
  appRoot: string,
  workspaceRoot: string,
  profile: ToolFields,
  manager: Manager,
): Promise<Found<string | null>> {
  const field = manager === 'npm' ? undefined : profile[manager];
  if (field !== undefined) return EXACT.test(field) ? found(field) : notExact(manager, field);
  const declared = await declaredManager(files, appRoot, workspaceRoot);
  if (declared !== null && declared.name === manager && declared.version !== '') {
    const { version: text, file } = declared;
    const [version, checksum, ...rest] = text.split('+');
    const isVersion = BEGINNING.test(version!.replace(/^v/, ''));
    if (!isVersion || rest.length > 0 || (checksum !== undefined && !(CHECKSUM.test(checksum) && EXACT.test(version!))))
      return problem(
        `\`packageManager\` in ${file} is \`${manager}@${printable(text)}\`, which names no fixed version of ${manager}. Write one, such as \`${manager}@${exampleOf(manager)}\`.`,
      );
    return found(text.replace(/^v/, ''));
  }
  if (manager === 'npm') return found(null, []);
  const { version, because } = await defaultVersion(files, appRoot, workspaceRoot, manager);
  return found(version, [
    `No version of ${manager} is named, so the build uses ${manager} ${version}, ${because}. Set \`packageManager\` in package.json to choose another.`,
  ]);
}

const exampleOf = (manager: Manager) => ({ npm: '11.6.0', yarn: '4.9.2', pnpm: '10.15.0', bun: '1.2.20' })[manager];

const notExact = (name: string, version: string) =>
  problem(
    `\`${name}\` in the profile of eas.json is \`${printable(version)}\`. It must be a full version, such as \`1.2.3\`.`,
  );

const firstLine = (text: string | null): string | null =>
  text
    ?.split(/\r?\n/)
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .find((line) => line !== '') ?? null;

/** The text comes from a file of the project, and a person reads it in a terminal. */
const printable = (text: string) => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 60);
