/**
 * Says which version of each tool a build needs: Node, the project's own package manager, and for iOS
 * CocoaPods, fastlane and Bundler.
 *
 * A field of eas.json comes first. Then comes `packageManager` of package.json, for the manager. Then come
 * `.nvmrc` and `.node-version`, for Node. A manager without any version gets the one of `default-versions.ts`
 * that can read the project's lock file, because the image has only npm.
 *
 * Invariant: the value has the tools in the order in which they are installed, Node first, and each version
 * is exact or the beginning of one, such as `22` or `22.11.0`. Any other text in a field of eas.json is a
 * problem that names the field. In another file it is a note, and the build goes on without that version.
 */
import { defaultVersion } from './dependencies/default-versions.ts';
import { declaredManager, foldersUp, type Manager } from './dependencies/package-manager-field.ts';
import { readText, withoutComment } from './dependencies/read-file.ts';
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

interface ToolVersion {
  name: 'node' | Manager | 'cocoapods' | 'fastlane' | 'bundler';
  /** The version of a manager may have a checksum: `10.15.0+sha512.ab…`. */
  version: string;
}

const EXACT = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;
const BEGINNING = /^\d+(\.\d+){0,2}(-[0-9A-Za-z.-]+)?$/;
const CHECKSUM = /^sha(224|256|384|512)\.[0-9a-f]+$/;
const GEMS = ['cocoapods', 'fastlane', 'bundler'] as const;
/** Such a file has one line, and perhaps a comment before it. */
const VERSION_FILE_MAX_CHARS = 4096;

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
    const exact = exactIn(version);
    if (exact === null) return notExact(name, version);
    tools.push({ name, version: exact });
  }
  return found(tools, notes);
}

async function nodeVersion(
  files: ProjectFiles,
  appRoot: string,
  workspaceRoot: string,
  { node }: ToolFields,
): Promise<Found<string | null>> {
  if (node !== undefined) {
    const exact = exactIn(node);
    return exact === null ? notExact('node', node) : found(exact);
  }
  for (const folder of foldersUp(appRoot, workspaceRoot))
    for (const name of ['.nvmrc', '.node-version']) {
      const file = pathIn(folder, name);
      const line = firstLine(await readText(files, file, VERSION_FILE_MAX_CHARS));
      if (line !== null) return nodeOfFile(file!, line);
    }
  return found(null, []);
}

/**
 * Reads the forms that nvm and its successors allow in such a file. Some of their words have no fixed
 * meaning.
 */
function nodeOfFile(file: string, line: string): Found<string | null> {
  const version = line
    .slice(0, 100)
    .replace(/^(node-|v)/i, '')
    .replace(/(\.[x*]){1,2}$/i, '');
  if (BEGINNING.test(version)) return found(version);
  const lts = /^lts[/-](.+)$/i.exec(line)?.[1]?.toLowerCase();
  if (lts === '*' || /^(lts|stable)$/i.test(line))
    return found(null, [
      `${file} says \`${line}\`. The build uses the image's own Node, which is of the long-term line that Node then recommends. Write a version, such as 22.11.0, to choose another.`,
    ]);
  const major = lts === undefined ? undefined : LTS_LINES[lts];
  if (major !== undefined) return found(major);
  return found(null, [
    `${file} says \`${printable(line)}\`, which names no fixed version of Node. The build uses the image's own Node. Write a version there, such as \`22\` or \`22.11.0\`, or set \`node\` in the profile of eas.json.`,
  ]);
}

async function managerVersion(
  files: ProjectFiles,
  appRoot: string,
  workspaceRoot: string,
  profile: ToolFields,
  manager: Manager,
): Promise<Found<string | null>> {
  const field = manager === 'npm' ? undefined : profile[manager];
  if (field !== undefined) {
    const exact = exactIn(field);
    return exact === null ? notExact(manager, field) : found(exact);
  }
  const declared = await declaredManager(files, appRoot, workspaceRoot);
  const asked = declared?.name === manager && declared.version !== '' ? declared : null;
  if (asked !== null) {
    const text = asked.version.replace(/^v/, '').slice(0, 300);
    const [version, checksum, ...rest] = text.split('+');
    if (BEGINNING.test(version!)) {
      const isWhole = rest.length === 0 && EXACT.test(version!) && CHECKSUM.test(checksum ?? '');
      if (checksum === undefined || isWhole) return found(text);
      return found(version!, [
        `The checksum of \`packageManager\` in ${asked.file} is of no form that is known, so ${manager} ${version} is not compared with it.`,
      ]);
    }
  }
  const why =
    asked === null
      ? `No version of ${manager} is named`
      : `\`packageManager\` in ${asked.file} is \`${manager}@${printable(asked.version)}\`, which names no fixed version of ${manager}`;
  const fix = `\`${manager}@${exampleOf(manager)}\``;
  if (manager === 'npm')
    return found(
      null,
      asked === null ? [] : [`${why}, so the build uses the npm of its Node. Write ${fix} to choose one.`],
    );
  const { version, because } = await defaultVersion(files, appRoot, workspaceRoot, manager);
  return found(version, [
    `${why}, so the build uses ${manager} ${version}, ${because}. Set \`packageManager\` in package.json to a version, such as ${fix}, to choose another.`,
  ]);
}

/**
 * The version without the parts that semver allows around it: `v22.11.0`, `1.22.22+sha1.ab`. Null if it is
 * not exact.
 */
function exactIn(field: string): string | null {
  const version = field
    .trim()
    .replace(/^[v=]{1,2}/, '')
    .split('+', 1)[0]!;
  return EXACT.test(version) ? version : null;
}

const exampleOf = (manager: Manager) => ({ npm: '11.6.0', yarn: '4.9.2', pnpm: '10.15.0', bun: '1.2.20' })[manager];

const notExact = (name: string, version: string) =>
  problem(
    `\`${name}\` in the profile of eas.json is \`${printable(version)}\`. It must be a full version, such as \`1.2.3\`.`,
  );

const firstLine = (text: string | null): string | null =>
  text
    ?.split(/\r?\n/)
    .map((line) => withoutComment(line).trim())
    .find((line) => line !== '') ?? null;

/** The text comes from a file of the project, and a person reads it in a terminal. */
const printable = (text: string) => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 60);
