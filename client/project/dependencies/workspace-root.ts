/**
 * Finds the root of the workspace that an app belongs to, as Expo's engine does: the nearest folder at or
 * above the app whose `pnpm-workspace.yaml` or `package.json` lists the app. Without one it is the app's own
 * folder.
 *
 * Invariant: no glob of a project holds up the reader. Globs that could are treated as ones that match
 * nothing.
 */
import picomatch from 'picomatch';
import type { ProjectFiles } from '../project-files.ts';
import { pathIn } from '../project-files.ts';
import { asRecord, readJson, readText } from './read-file.ts';

/** Real workspaces have a handful. */
const GLOBS_MAX = 1000;
const GLOB_MAX_LENGTH = 256;
/** Each one multiplies the time of a match by the length of the path. */
const WILDCARDS_MAX = 4;

export async function findWorkspaceRoot(files: ProjectFiles, appRoot: string): Promise<string> {
  const parts = appRoot === '.' ? [] : appRoot.split('/');
  for (let depth = parts.length; depth >= 0; depth -= 1) {
    const folder = depth === 0 ? '.' : parts.slice(0, depth).join('/');
    const below = parts.slice(depth).join('/');
    const lists = [await pnpmGlobs(files, folder), await packageGlobs(files, folder)];
    if (lists.some((globs) => globs !== null && isListed(globs, below))) return folder;
  }
  return appRoot;
}

/** As micromatch does: the last glob that matches decides. One that begins with `!` leaves the app out. */
export function isListed(globs: readonly string[], path: string): boolean {
  if (path === '') return true;
  const matches = (glob: string) => isHarmless(glob) && picomatch(glob)(path);
  const decides = globs.findLast((glob) => matches(glob.replace(/^!/, '')));
  if (decides !== undefined) return !decides.startsWith('!');
  return globs.length > 0 && globs.every((glob) => glob.startsWith('!'));
}

function isHarmless(glob: string): boolean {
  if (glob === '' || glob.length > GLOB_MAX_LENGTH) return false;
  // A group can repeat inside a group, which takes for ever. No workspace needs one.
  return !glob.includes('(') && (glob.match(/\*+|[?[{+]/g) ?? []).length <= WILDCARDS_MAX;
}

async function packageGlobs(files: ProjectFiles, folder: string): Promise<string[] | null> {
  const { workspaces } = asRecord(await readJson(files, pathIn(folder, 'package.json')));
  if (Array.isArray(workspaces)) return texts(workspaces);
  const { packages } = asRecord(workspaces);
  return Array.isArray(packages) ? texts(packages) : null;
}

async function pnpmGlobs(files: ProjectFiles, folder: string): Promise<string[] | null> {
  const text = await readText(files, pathIn(folder, 'pnpm-workspace.yaml'));
  return text === null ? null : packagesOfYaml(text);
}

/** The list `packages:` of a pnpm-workspace.yaml, in both forms that people write. Null if there is none. */
export function packagesOfYaml(text: string): string[] | null {
  const lines = text.split(/\r?\n/);
  const start = lines.findIndex((line) => /^packages\s*:/.test(line));
  if (start < 0) return null;
  const inline = lines[start]!.replace(/^packages\s*:/, '');
  const rest = lines.slice(start + 1);
  if (inline.trim().startsWith('[')) {
    const list = [inline, ...rest].map(withoutComment).join(' ');
    const inside = /^\s*\[([^\]]*)\]/.exec(list)?.[1] ?? '';
    return texts(inside.split(',').map(unquoted));
  }
  const items: string[] = [];
  for (const line of rest.map(withoutComment)) {
    if (line.trim() === '') continue;
    const item = /^\s*-\s+(.*)$/.exec(line);
    if (item === null) break;
    items.push(unquoted(item[1]!));
  }
  return items.length === 0 ? null : texts(items);
}

const withoutComment = (line: string) => line.replace(/(^|\s)#.*$/, '');
const unquoted = (text: string) => text.trim().replace(/^(['"])(.*)\1$/, '$2');
const texts = (values: readonly unknown[]) =>
  values.filter((value): value is string => typeof value === 'string' && value !== '').slice(0, GLOBS_MAX);
