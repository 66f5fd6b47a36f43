/**
 * Makes room for an image by deleting what Tart keeps of registries and of Apple: pulled images and IPSW
 * files, the one first that was used longest ago. It stands in place of Tart's own pruning, which the agent
 * turns off, because that knows nothing of generations.
 *
 * Invariant: nothing is deleted that a current or previous generation of this Mac's images names, that was
 * used within the last hour, or for which there is no need.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskRoom } from '../mac/disk-room.ts';
import type { Tart } from '../tart/tart.ts';
import type { ImageView } from './images.ts';

/** Somebody may be about to clone from it. */
const IN_USE_MS = 3_600_000;

export interface RoomOptions {
  tart: Pick<Tart, 'home' | 'list' | 'removePulled'>;
  images: readonly Pick<ImageView, 'current' | 'previous'>[];
  /** Further images that stay, `HOST/NAME@DIGEST`. */
  keep?: readonly (string | null)[];
  neededBytes: number;
  roomOf(folder: string): Promise<DiskRoom>;
  signal?: AbortSignal | undefined;
}

interface Deletable {
  name: string;
  usedAt: Date;
  remove(): Promise<unknown>;
}

/** Resolves with what was deleted, which may not be enough: an image shares its blocks with its clones. */
export async function makeRoom(options: RoomOptions): Promise<string[]> {
  const { tart, neededBytes, roomOf, signal } = options;
  const isEnough = async () => (await roomOf(tart.home)).freeBytes >= neededBytes;
  const deleted: string[] = [];
  if (await isEnough()) return deleted;
  const things = [...(await pulledImages(options)), ...(await ipswFiles(tart.home))]
    .filter(({ usedAt }) => Date.now() - usedAt.getTime() > IN_USE_MS)
    .sort((a, b) => a.usedAt.getTime() - b.usedAt.getTime());
  for (const { name, remove } of things) {
    signal?.throwIfAborted();
    await remove();
    deleted.push(name);
    if (await isEnough()) break;
  }
  return deleted;
}

/** A tag is a link to a digest, and goes with it. Without an answer of Tart there are none. */
async function pulledImages({ tart, images, keep = [], signal }: RoomOptions): Promise<Deletable[]> {
  const generations = images.flatMap(({ current, previous }) => [current, ...(previous ? [previous] : [])]);
  const kept = [...generations.map(({ reference }) => reference), ...keep].map(digestIn).filter(Boolean);
  const listed = await tart.list(signal);
  if (!listed.ok) return [];
  return listed.vms.flatMap(({ name, source, accessedAt }) => {
    const digest = digestIn(name);
    if (source !== 'oci' || digest === null || accessedAt === null || kept.includes(digest)) return [];
    return { name, usedAt: accessedAt, remove: () => tart.removePulled(name) };
  });
}

async function ipswFiles(home: string): Promise<Deletable[]> {
  const folder = join(home, 'cache', 'IPSWs');
  const names = await readdir(folder).catch(() => []);
  return await Promise.all(
    names.map(async (name) => ({
      name,
      usedAt: (await stat(join(folder, name))).atime,
      remove: () => rm(join(folder, name), { force: true }),
    })),
  );
}

const digestIn = (reference: string | null): string | null =>
  /@(sha256:[0-9a-f]{64})$/.exec(reference ?? '')?.[1] ?? null;
