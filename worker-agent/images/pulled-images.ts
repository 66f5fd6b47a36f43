/**
 * Makes room for an image by deleting what Tart keeps of registries and of Apple: pulled images and IPSW
 * files, the one first that was used longest ago. It stands in place of Tart's own pruning, which the agent
 * turns off, because that knows nothing of generations.
 *
 * Invariant: nothing is deleted that a current or previous generation of this Mac's images names, that was
 * used within the last hour, or for which there is no need. Nor is anything if all of it would not be enough.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GB_BYTES } from '../health-checks/figures.ts';
import type { DiskRoom } from '../mac/disk-room.ts';
import type { Tart } from '../tart/tart.ts';
import type { ImageView } from './images.ts';

/** Somebody may be about to clone from it. */
const IN_USE_MS = 3_600_000;
const BLOCK_BYTES = 512;

export interface RoomOptions {
  tart: Pick<Tart, 'home' | 'list' | 'removePulled'>;
  images: readonly Pick<ImageView, 'current' | 'previous'>[];
  /** Further images that stay, `HOST/NAME@DIGEST`. */
  keep?: readonly (string | null)[];
  neededBytes: number;
  roomOf(folder: string): Promise<DiskRoom>;
  signal?: AbortSignal | undefined;
}

export interface Deletable {
  name: string;
  usedAt: Date;
  /** What it frees at most: an image shares blocks with its clones. */
  bytes: number;
  remove(): Promise<{ ok: boolean }>;
}

/** Resolves with what was deleted, which may not be enough. */
export async function makeRoom(options: RoomOptions): Promise<string[]> {
  const deleted: string[] = [];
  for (;;) {
    const [next] = await deletableFor(options);
    options.signal?.throwIfAborted();
    if (!next || deleted.includes(next.name) || !(await next.remove()).ok) return deleted;
    deleted.push(next.name);
  }
}

/** What has to be deleted, in this order. Nothing if there is room, or if it would not be enough. */
export async function deletableFor(options: RoomOptions): Promise<Deletable[]> {
  const { tart, neededBytes, roomOf } = options;
  let missing = neededBytes - (await roomOf(tart.home)).freeBytes;
  if (missing <= 0) return [];
  const things = [...(await pulledImages(options)), ...(await ipswFiles(tart.home))]
    .filter(({ usedAt }) => Date.now() - usedAt.getTime() > IN_USE_MS)
    .sort((a, b) => a.usedAt.getTime() - b.usedAt.getTime());
  for (const [index, { bytes }] of things.entries()) {
    missing -= bytes;
    if (missing <= 0) return things.slice(0, index + 1);
  }
  return [];
}

/** A tag is a link to a digest, and goes with it. Without an answer of Tart there are none. */
async function pulledImages({ tart, images, keep = [], signal }: RoomOptions): Promise<Deletable[]> {
  const generations = images.flatMap(({ current, previous }) => [current, ...(previous ? [previous] : [])]);
  const kept = [...generations.map(({ reference }) => reference), ...keep].map(digestIn);
  kept.push(...generations.map(({ digest }) => digest));
  const listed = await tart.list(signal);
  if (!listed.ok) return [];
  return listed.vms.flatMap(({ name, source, accessedAt, sizeGb }) => {
    const digest = digestIn(name);
    if (source !== 'oci' || digest === null || accessedAt === null || sizeGb === null) return [];
    if (kept.includes(digest)) return [];
    return { name, usedAt: accessedAt, bytes: sizeGb * GB_BYTES, remove: () => tart.removePulled(name) };
  });
}

async function ipswFiles(home: string): Promise<Deletable[]> {
  const folder = join(home, 'cache', 'IPSWs');
  const names = await readdir(folder).catch(() => []);
  return await Promise.all(
    names.map(async (name) => {
      const { atime, blocks } = await stat(join(folder, name));
      const remove = () => rm(join(folder, name), { force: true }).then(() => ({ ok: true }));
      return { name, usedAt: atime, bytes: blocks * BLOCK_BYTES, remove };
    }),
  );
}

const digestIn = (reference: string | null): string | null =>
  /@(sha256:[0-9a-f]{64})$/.exec(reference ?? '')?.[1] ?? null;
