/**
 * Finds the hosts that a project fetches code from, in package.json, lock files, settings of the managers,
 * CocoaPods and Swift packages.
 *
 * Invariant: it reads only the fields that a manager fetches from. A `homepage` or a `funding` link is none.
 */
import type { ProjectFiles } from '../project-files.ts';
import { asRecord, readText } from './read-file.ts';

/** By git over SSH, by git over HTTPS, or as a package of a registry. */
export type Way = 'ssh' | 'git' | 'registry';

export interface NamedHost {
  host: string;
  /** Null for the usual one. */
  port: string | null;
  way: Way;
  file: string;
}

/** Large workspaces have some hundred package.json files. */
const FILES_MAX = 500;

const DEPENDENCY_FIELDS = ['dependencies', 'devDependencies', 'optionalDependencies', 'resolutions', 'overrides'];

/** Each kind of file, and the pattern of the values in it that a manager fetches from. */
const READERS: readonly (readonly [name: RegExp, values: (text: string) => string[]])[] = [
  [/^package\.json$/, dependenciesOf],
  [/^package-lock\.json$/, (text) => valuesOf(text, /"resolved":\s*"([^"\n]{1,2000})"/g).filter(isNotHostedByNpm)],
  [/^yarn\.lock$/, (text) => [...valuesOf(text, /^\s+resolved "([^"\n]{1,2000})"/gm), ...berryLocations(text)]],
  [/^pnpm-lock\.yaml$/, (text) => valuesOf(text, /\b(?:tarball|repo|specifier|version):\s*['"]?([^\s'"},]{1,2000})/g)],
  [/^bun\.lock$/, (text) => valuesOf(text, /"([^"\n]*(?::\/\/|git@)[^"\n]{1,2000})"/g)],
  [/^\.npmrc$/, (text) => valuesOf(text, /^\s*(?:@[^:\n=]{1,200}:)?registry\s*=\s*(\S{1,2000})/gm)],
  [/^\.yarnrc\.yml$/, (text) => valuesOf(text, /^\s*npmRegistryServer:\s*['"]?([^\s'"]{1,2000})/gm)],
  [/^Podfile$/, (text) => valuesOf(text, /(?::git\s*=>|\bgit:|^\s*source)\s*['"]([^'"\n]{1,2000})/gm)],
  [/^Podfile\.lock$/, (text) => valuesOf(text, /(?::git:|^ {2}["']?(?=git@|ssh:|https:))\s*["']?([^\s"']{1,2000})/gm)],
  [/^Package\.resolved$/, (text) => valuesOf(text, /"(?:location|repositoryURL)"\s*:\s*"([^"\n]{1,2000})"/g)],
];

export async function namedHosts(files: ProjectFiles): Promise<NamedHost[]> {
  const found: NamedHost[] = [];
  const paths = [...files.paths].filter((path) => !`/${path}`.includes('/node_modules/')).sort(byDepth);
  let read = 0;
  for (const path of paths) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    const values = READERS.find(([pattern]) => pattern.test(name))?.[1];
    if (values === undefined) continue;
    read += 1;
    if (read > FILES_MAX) break;
    const text = await readText(files, path);
    for (const value of text === null ? [] : values(text)) {
      const place = placeOf(value, name);
      if (place !== null) found.push({ ...place, file: path });
    }
  }
  return found;
}

/**
 * The host of an address, and how it is reached. Null for a version, a path, or a short form such as `a/b`.
 */
function placeOf(value: string, file: string): Omit<NamedHost, 'file'> | null {
  const scp = /(?:^|@)git@([a-z0-9.-]{1,253}):/i.exec(value);
  if (scp !== null && !value.includes('://')) return { host: scp[1]!.toLowerCase(), port: null, way: 'ssh' };
  const address =
    /(?:^|@)(?:(git)\+)?(https?|ssh|git):\/\/(?:[^\s"'@/]{0,200}@)?([a-z0-9.-]{1,253})(?::(\d{1,5})(?!\d))?/i.exec(
      value,
    );
  if (address === null) return null;
  const [, git, scheme, host, port] = address;
  const isGit = git !== undefined || /\.git(?:[#?]|$)/.test(value) || /^(Podfile|Package)/.test(file);
  return { host: host!.toLowerCase(), port: port ?? null, way: scheme === 'ssh' ? 'ssh' : isGit ? 'git' : 'registry' };
}

function dependenciesOf(text: string): string[] {
  try {
    const json = asRecord(JSON.parse(text));
    return DEPENDENCY_FIELDS.flatMap((field) => Object.values(asRecord(json[field]))).filter(
      (value): value is string => typeof value === 'string',
    );
  } catch {
    return [];
  }
}

/** npm writes SSH addresses of these forges for public packages too, and fetches them over HTTPS. */
const isNotHostedByNpm = (value: string) => !/^git\+ssh:\/\/git@(github\.com|gitlab\.com|bitbucket\.org)\//.test(value);

/** Yarn 2 and newer hides the address of another registry in the name of a package. */
const berryLocations = (text: string) =>
  valuesOf(text, /^\s+resolution: "([^"\n]{1,2000})"/gm).flatMap((value) => {
    const archive = /__archiveUrl=([^&"]{1,2000})/.exec(value)?.[1];
    if (archive === undefined) return [value.replace(/^@?[^@]{1,214}@/, '')];
    try {
      return [decodeURIComponent(archive)];
    } catch {
      return [];
    }
  });

const valuesOf = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, value]) => value!);

const byDepth = (one: string, other: string) =>
  one.split('/').length - other.split('/').length || (one < other ? -1 : 1);
