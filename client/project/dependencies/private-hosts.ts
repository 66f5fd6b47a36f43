/**
 * Finds the hosts that a project fetches code from, in package.json, lock files, settings of the managers,
 * CocoaPods and Swift packages.
 *
 * Invariant: it reads only the fields that a manager fetches from. A `homepage` or a `funding` link does not
 * count. It reads at most a fixed number of bytes of any project, each of them once, and keeps each host
 * once.
 */
import { PROJECT_FILE_MAX_BYTES, type ProjectFiles } from '../project-files.ts';
import { asRecord, readText } from './read-file.ts';

/** How the project fetches: by git over SSH, by git over HTTPS, or from a registry. */
export type Way = 'ssh' | 'git' | 'registry';

export interface NamedHost {
  host: string;
  /** Null for the usual port. */
  port: string | null;
  way: Way;
  file: string;
}

interface NamedHosts {
  hosts: NamedHost[];
  /** False if a part of the project was not searched. */
  isWhole: boolean;
}

/** Large workspaces have some hundred package.json files. */
const FILES_MAX = 500;
/** The limit for all files together. The lock file of a large workspace has some MB. */
const BYTES_MAX = 2 * PROJECT_FILE_MAX_BYTES;
const HOSTS_MAX = 200;
const ADDRESS_MAX_CHARS = 2000;

const DEPENDENCY_FIELDS = ['dependencies', 'devDependencies', 'optionalDependencies', 'resolutions', 'overrides'];

/**
 * Each kind of file, and the pattern of the values in it that a manager fetches from. Each pattern limits the
 * number of blanks and stays on one line, because a search through a long run of blanks would otherwise take
 * the square of its length.
 */
const READERS = new Map<string, (text: string) => Iterable<string>>([
  ['package.json', dependenciesOf],
  ['package-lock.json', (text) => lockedByNpm(text)],
  ['yarn.lock', (text) => lockedByYarn(text)],
  [
    'pnpm-lock.yaml',
    (text) => valuesOf(text, /\b(?:tarball|repo|specifier|version):[ \t]{0,20}['"]?([^\s'"},]{1,2000})/g),
  ],
  ['bun.lock', (text) => addressesIn(valuesOf(text, /"([^"\n]{0,2000})"/g))],
  [
    '.npmrc',
    (text) => valuesOf(text, /^[ \t]{0,20}(?:@[^:\n=]{1,200}:)?registry[ \t]{0,20}=[ \t]{0,20}(\S{1,2000})/gm),
  ],
  ['.yarnrc.yml', (text) => valuesOf(text, /^[ \t]{0,20}npmRegistryServer:[ \t]{0,20}['"]?([^\s'"]{1,2000})/gm)],
  [
    'Podfile',
    (text) => valuesOf(text, /(?::git[ \t]{0,20}=>|\bgit:|^[ \t]{0,20}source)[ \t]{0,20}['"]([^'"\n]{1,2000})/gm),
  ],
  [
    'Podfile.lock',
    (text) => valuesOf(text, /(?::git:|^ {2}["']?(?=git@|ssh:|https:))[ \t]{0,20}["']?([^\s"']{1,2000})/gm),
  ],
  [
    'Package.resolved',
    (text) => valuesOf(text, /"(?:location|repositoryURL)"[ \t]{0,20}:[ \t]{0,20}"([^"\n]{1,2000})"/g),
  ],
]);

export async function namedHosts(files: ProjectFiles): Promise<NamedHosts> {
  const hosts = new Map<string, NamedHost>();
  const { paths, isWhole: hasAll } = pathsToRead(files);
  let isWhole = hasAll;
  let bytesLeft = BYTES_MAX;
  for (const path of paths) {
    // To read a file that is not at hand takes a pass over the whole source.
    const text = files.isAtHand?.(path) === false ? null : await readText(files, path);
    if (text === null) {
      isWhole = false;
      continue;
    }
    bytesLeft -= text.length;
    if (bytesLeft < 0) return { hosts: [...hosts.values()], isWhole: false };
    const name = nameIn(path);
    for (const value of READERS.get(name)!(text)) {
      const place = placeOf(value.slice(0, ADDRESS_MAX_CHARS), name);
      if (place === null) continue;
      const key = `${place.way} ${place.host}:${place.port}`;
      if (hosts.has(key)) continue;
      if (hosts.size >= HOSTS_MAX) return { hosts: [...hosts.values()], isWhole: false };
      hosts.set(key, { ...place, file: path });
    }
  }
  return { hosts: [...hosts.values()], isWhole };
}

/**
 * The paths nearest to the root come first. Their number is limited, because an archive may have millions of
 * names.
 */
function pathsToRead(files: ProjectFiles): { paths: string[]; isWhole: boolean } {
  const byDepth: string[][] = [];
  let isWhole = true;
  for (const path of files.paths) {
    if (!READERS.has(nameIn(path)) || `/${path}`.includes('/node_modules/')) continue;
    const level = (byDepth[path.split('/').length] ??= []);
    if (level.length < FILES_MAX) level.push(path);
    else isWhole = false;
  }
  const paths = byDepth.flatMap((level) => level.sort());
  return { paths: paths.slice(0, FILES_MAX), isWhole: isWhole && paths.length <= FILES_MAX };
}

const nameIn = (path: string) => path.slice(path.lastIndexOf('/') + 1);

/**
 * The host of an address, and the way to fetch from it. Null for a version, a path, or a short form such as
 * `a/b`.
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

function* lockedByNpm(text: string): Iterable<string> {
  for (const value of valuesOf(text, /"resolved":[ \t]{0,20}"([^"\n]{1,2000})"/g))
    if (isNotHostedByNpm(value)) yield value;
}

function* lockedByYarn(text: string): Iterable<string> {
  yield* valuesOf(text, /^[ \t]{1,20}resolved "([^"\n]{1,2000})"/gm);
  for (const value of valuesOf(text, /^[ \t]{1,20}resolution: "([^"\n]{1,2000})"/gm)) yield berryLocation(value);
}

/** Yarn 2 and newer hides the address of another registry in the name of a package. */
function berryLocation(value: string): string {
  const archive = /__archiveUrl=([^&"]{1,2000})/.exec(value)?.[1];
  if (archive === undefined) return value.replace(/^@?[^@]{1,214}@/, '');
  try {
    return decodeURIComponent(archive);
  } catch {
    return '';
  }
}

function* addressesIn(values: Iterable<string>): Iterable<string> {
  for (const value of values) if (value.includes('://') || value.includes('git@')) yield value;
}

/** Yields one value at a time, so that a file with a million values needs no memory for them. */
function* valuesOf(text: string, pattern: RegExp): Iterable<string> {
  for (const [, value] of text.matchAll(pattern)) yield value!;
}
