/**
 * Brings an app that the farm has built to this disk, and keeps the last ones in a folder of its own. The
 * next call continues an interrupted download.
 *
 * Invariant: a folder named by a hash has the complete content of the file with this hash. The archive is
 * checked before it is unpacked, so no entry lands elsewhere and no link in it leads out.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { extract } from 'tar';
import type { CachedBuild } from '#contract';
import type { BuildsClient } from '../../client/builds-client.ts';
import { findSourceProblem } from '../../client/packing/archive-check.ts';

/** An app of the simulator has some 100 MB and some thousand files. */
const APP_LIMITS = { entriesMax: 100_000, totalBytesMax: 4 * 1024 ** 3 };
const KEPT_APPS = 5;
/** How long an unfinished download is kept. */
const UNFINISHED_KEPT_MS = 24 * 3_600_000;
/** Names in the folder of the cache: an app has its hash as its name, and the others are unfinished apps. */
const APP_PLACE = /^[0-9a-f]{64}$/;
const UNFINISHED = 'new-';
const ON_THE_WAY = /^new-|^\.[0-9a-f]{32}\.partial/;

const APP_FILE: Record<CachedBuild['build']['platform'], RegExp> = { ios: /\.app$/, android: /^app\.apk$/ };

class AppError extends Error {
  override name = 'AppError';
}

/** Returns where the `.app` or the `.apk` is. Throws AppError, ApiError, or the reason of `signal`. */
export async function fetchApp(
  client: BuildsClient,
  { build: { id, platform }, artifact }: CachedBuild,
  signal: AbortSignal,
): Promise<{ path: string; wasHere: boolean }> {
  const { name, sha256 } = artifact;
  const folder = cacheFolder();
  const place = join(folder, sha256);
  // Other runs remove apps that were unused for long, so this run marks the app as used before it looks.
  const now = new Date();
  await utimes(place, now, now).catch(() => {});
  const there = await appIn(place, platform);
  if (there !== null) return { path: there, wasHere: true };
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await removeOld(folder);
  // For this call alone. The download lies in the folder of the cache, where a later call finds its first
  // part.
  const made = await mkdtemp(join(folder, UNFINISHED));
  const file = `${made}.download`;
  try {
    await client.downloadArtifact(id, artifact, file, { signal });
    if (platform === 'android') await rename(file, join(made, 'app.apk'));
    else await unpack(file, made, name, signal);
    if ((await appIn(made, platform)) === null) throw new AppError(`${name} is not one .app folder`);
    await rename(made, place).catch(async () => {
      // Another run may have been faster. Otherwise the folder has lost its app.
      if ((await appIn(place, platform)) !== null) return;
      await rm(place, { recursive: true, force: true });
      await rename(made, place);
    });
  } finally {
    for (const one of [file, made]) await rm(one, { recursive: true, force: true });
  }
  const path = await appIn(place, platform);
  if (path === null) throw new AppError(`${place} cannot be written`);
  return { path, wasHere: false };
}

async function unpack(file: string, into: string, name: string, signal: AbortSignal): Promise<void> {
  const problem = await findSourceProblem(file, signal, APP_LIMITS);
  if (problem !== null) throw new AppError(`${name} is not unpacked: ${problem}`);
  await extract({ file, cwd: into, strict: true });
}

/** The app in a place of the cache. Null if there is none, or more than that. Finder adds hidden files. */
async function appIn(place: string, platform: CachedBuild['build']['platform']): Promise<string | null> {
  const names = await readdir(place).catch(() => []);
  const [only, ...others] = names.filter((name) => !name.startsWith('.'));
  return only !== undefined && others.length === 0 && APP_FILE[platform].test(only) ? join(place, only) : null;
}

/** Leaves room for one more. */
async function removeOld(folder: string): Promise<void> {
  const names = await readdir(folder);
  const places = await Promise.all(
    names.map(async (name) => ({ name, usedAt: (await stat(join(folder, name)).catch(() => null))?.mtimeMs ?? 0 })),
  );
  const apps = places.filter(({ name }) => APP_PLACE.test(name)).sort((a, b) => b.usedAt - a.usedAt);
  const unfinished = places.filter(
    ({ name, usedAt }) => ON_THE_WAY.test(name) && usedAt < Date.now() - UNFINISHED_KEPT_MS,
  );
  for (const { name, usedAt } of apps.slice(KEPT_APPS - 1)) await removeUnused(join(folder, name), usedAt);
  for (const { name } of unfinished) await rm(join(folder, name), { recursive: true, force: true });
}

/** Takes the app away as a whole, unless another run has been given it since `usedAt`. */
export async function removeUnused(place: string, usedAt: number): Promise<void> {
  const taken = join(dirname(place), `${UNFINISHED}${randomUUID()}`);
  await rename(place, taken).catch(() => {}); // another run may have been faster
  // Only now, because no run can get the app any more. The rename does not change the time of the folder.
  if ((await stat(taken).catch(() => null))?.mtimeMs !== usedAt) await rename(taken, place).catch(() => {});
  await rm(taken, { recursive: true, force: true });
}

/** The folder in which this system keeps files that can be made again. */
function cacheFolder(): string {
  const { LOCALAPPDATA, XDG_CACHE_HOME } = process.env;
  const usual = { darwin: 'Library/Caches', win32: 'AppData/Local' }[process.platform as string] ?? '.cache';
  const named = process.platform === 'win32' ? LOCALAPPDATA : XDG_CACHE_HOME;
  // A relative path would lead into the project.
  return join(named && isAbsolute(named) ? named : join(homedir(), usual), 'expo-build/apps');
}
