/**
 * Finds the root of the workspace that an app belongs to, as Expo's engine does: the nearest folder at or
 * above the app whose `pnpm-workspace.yaml` or `package.json` lists the app. Without one it is the app's own
 * folder.
 *
 * Invariant: no glob of a project can block the reader. A glob that could is skipped and reported.
 */
import picomatch from 'picomatch';
import type { ProjectFiles } from '../project-files.ts';
import { pathIn } from '../project-files.ts';
import { asRecord, readJson, readText, withoutComment } from './read-file.ts';

/** Real workspaces have a handful. */
const GLOBS_MAX = 1000;
const GLOB_MAX_LENGTH = 256;
/** Each wildcard multiplies the steps of a match by the length of the path. */
const STEPS_MAX = 100_000_000;
/** The limit for all folders together. */
const ALL_GLOBS_MAX = 5 * GLOBS_MAX;
/** The rest of a longer pnpm-workspace.yaml is ignored. */
const YAML_MAX_CHARS = 256 * 1024;

interface Workspace {
  /** `.` or a folder at or above the app. */
  root: string;
  /** Globs of a folder above the app that were skipped, with their file. */
  unread: { file: string; glob: string }[];
}

export async function findWorkspaceRoot(files: ProjectFiles, appRoot: string): Promise<Workspace> {
  const unread: Workspace['unread'] = [];
  let globsLeft = ALL_GLOBS_MAX;
  const parts = appRoot === '.' ? [] : appRoot.split('/');
  for (let depth = parts.length; depth >= 0; depth -= 1) {
    const folder = depth === 0 ? '.' : parts.slice(0, depth).join('/');
    const below = parts.slice(depth).join('/');
    for (const [name, globs] of [
      ['pnpm-workspace.yaml', await pnpmGlobs(files, folder)],
      ['package.json', await packageGlobs(files, folder)],
    ] as const) {
      globsLeft -= globs?.length ?? 0;
      if (globs === null || globsLeft < 0) continue;
      if (isListed(globs, below)) return { root: folder, unread };
      for (const glob of globs.filter((one) => !isHarmless(one, below)))
        unread.push({ file: pathIn(folder, name)!, glob });
    }
  }
  return { root: appRoot, unread };
}

/** The last glob that matches decides, as in micromatch. One that begins with `!` leaves the app out. */
export function isListed(globs: readonly string[], path: string): boolean {
  if (path === '') return true;
  let isKept = false;
  let isLeftOut = false;
  let negated = 0;
  for (const glob of globs.filter((one) => isHarmless(one, path))) {
    const matches = picomatch(glob, {}, true);
    // Both begin with `!`: `!apps/web`, and `!(apps)/web`.
    const { negated: isNot, negatedExtglob } = matches.state as { negated?: boolean; negatedExtglob?: boolean };
    if (isNot || negatedExtglob) {
      negated += 1;
      if (!matches(path)) isLeftOut = true;
    } else if (matches(path)) {
      isKept = true;
      isLeftOut = false;
    }
  }
  return (isKept || (globs.length > 0 && negated === globs.length)) && !isLeftOut;
}

function isHarmless(glob: string, path: string): boolean {
  if (glob === '' || glob.length > GLOB_MAX_LENGTH) return false;
  if (path.length ** (glob.match(/\*+|[?[{+(]/g) ?? []).length > STEPS_MAX) return false;
  if (!/[()]/.test(glob)) return true;
  // A group that repeats, or that has a repetition in it, can take for ever. So only groups such as `@(a|b)`
  // are allowed.
  const rest = glob.replaceAll(/(?<![*+])\([\w@./|-]{1,100}\)(?![*+?{])/g, '');
  return !/[()+]/.test(rest);
}

async function packageGlobs(files: ProjectFiles, folder: string): Promise<string[] | null> {
  const { workspaces } = asRecord(await readJson(files, pathIn(folder, 'package.json')));
  if (Array.isArray(workspaces)) return texts(workspaces);
  const { packages } = asRecord(workspaces);
  return Array.isArray(packages) ? texts(packages) : null;
}

async function pnpmGlobs(files: ProjectFiles, folder: string): Promise<string[] | null> {
  const text = await readText(files, pathIn(folder, 'pnpm-workspace.yaml'), YAML_MAX_CHARS);
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

const unquoted = (text: string) => text.trim().replace(/^(['"])(.*)\1$/, '$2');
const texts = (values: readonly unknown[]) =>
  values.filter((value): value is string => typeof value === 'string' && value !== '').slice(0, GLOBS_MAX);
