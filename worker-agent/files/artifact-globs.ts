/**
 * Finds which files of a VM the globs of a build name.
 *
 * Invariant: no glob holds up the agent. A submitter writes the globs and a build names the files, and some
 * pairs of them would keep a pattern busy for years. So matching happens in a thread that is ended when its
 * time is up, and the agent goes on beating.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import picomatch from 'picomatch';
import type { ArtifactGlob } from '#contract';
import { answerOfThread } from './answer-of-thread.ts';

/** On a busy machine 200,000 files and 50 ordinary globs took 35 s. */
const MATCH_MS = 120_000;
const TASK = 'tartbeat: match artifacts';

export interface FoundFile {
  path: string;
  sizeBytes: number;
}
export interface Matched {
  found: FoundFile[];
  folders: string[];
  missing: string[];
}

/** Null if the time was up. Rejects with the reason of `signal`. */
export async function matchInTime(
  files: readonly FoundFile[],
  globs: readonly ArtifactGlob[],
  signal: AbortSignal,
  limitMs = MATCH_MS,
): Promise<Matched | null> {
  const thread = new Worker(new URL(import.meta.url), { workerData: { task: TASK, files, globs } });
  return await answerOfThread<Matched>(thread, limitMs, signal);
}

/**
 * The files and folders that globs name, and required globs without any. A glob that names a folder (`dist`,
 * `*.xcarchive`) stands for one archive of it. A glob that ends in a bare `*` or `**` means files. As in a
 * shell, a hidden folder must be named with its dot.
 */
export function matchArtifacts(files: readonly FoundFile[], globs: readonly ArtifactGlob[]): Matched {
  const found = new Map<string, FoundFile>();
  const folders = new Set<string>();
  const missing: string[] = [];
  for (const { glob, required } of globs) {
    const plain = withoutDot(glob);
    const matches = picomatch(plain, { dot: true });
    const last = lastPart(plain);
    const namesFolder = (path: string) =>
      !/^\*+$/.test(last) && matches(path) && (last.startsWith('.') || !lastPart(path).startsWith('.'));
    let matched = false;
    for (const file of files) {
      const folder = foldersOf(file.path).find(namesFolder);
      if (folder !== undefined) folders.add(folder);
      else if (matches(file.path)) found.set(file.path, file);
      else continue;
      matched = true;
    }
    if (!matched && required) missing.push(glob);
  }
  const inFolder = (path: string) => foldersOf(path).some((folder) => folders.has(folder));
  return {
    found: [...found.values()].filter(({ path }) => !inFolder(path)).sort((a, b) => (a.path < b.path ? -1 : 1)),
    folders: [...folders].filter((path) => !inFolder(path)).sort(),
    missing,
  };
}

/** The folders in which a glob can match: its part before the first wildcard. */
export function rootsOf(globs: readonly ArtifactGlob[]): string[] {
  const bases = globs.map(({ glob }) => picomatch.scan(withoutDot(glob)).base || '.');
  return [...new Set(bases)].filter((base) => !base.startsWith('/') && !base.split('/').includes('..'));
}

/** A path or glob without `./` before it and slashes behind. */
export const withoutDot = (glob: string) => glob.replace(/^(\.\/+)+/, '').replace(/\/+$/, '');

const lastPart = (path: string) => path.slice(path.lastIndexOf('/') + 1);

/** The folders that a path lies in, the outermost first. */
function foldersOf(path: string): string[] {
  const folders: string[] = [];
  for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) folders.push(path.slice(0, end));
  return folders;
}

// The thread runs this file too.
if (workerData?.task === TASK) parentPort!.postMessage(matchArtifacts(workerData.files, workerData.globs));
