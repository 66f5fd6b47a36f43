/**
 * Makes room for an image by deleting what Tart keeps of registries and of Apple: pulled images and IPSW
 * files, the least recently used one first. It replaces Tart's own pruning, which the agent turns off,
 * because Tart knows nothing of generations.
 *
 * Invariant: deletes only if enough room can be freed, and only as much as is needed. Never deletes an image
 * that a current or previous generation of this Mac's images names, or that was used within the last hour.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GB_BYTES } from '../health-checks/figures.ts';
import type { DiskRoom } from '../mac/disk-room.ts';
import type { Tart } from '../tart/tart.ts';
import type { ImageView } from './images.ts';

/** A command may be about to clone an image that was used so recently. */
const IN_USE_MS = 3_600_000;
const BLOCK_BYTES = 512;

export interface RoomOptions {
  tart: Pick<Tart, 'home' | 'list' | 'removePulled'>;
  images: readonly Pick<ImageView, 'current' | 'previous'>[];
  /** Further images to keep, `HOST/NAME@DIGEST`. */
  keep?: readonly (string | null)[];
  neededBytes: number;
  roomOf(folder: string): Promise<DiskRoom>;
  signal?: AbortSignal | undefined;
}

export interface Deletable {
  name: string;
  usedAt: Date;
  /** The bytes that it frees at most: an image shares blocks with its clones. */
  bytes: number;
  remove(): Promise<{ ok: boolean }>;
}

/** Resolves with the names of the deleted files. They may not free enough. */
export async function makeRoom(options: RoomOptions): Promise<string[]> {
  const deleted: string[] = [];
  for (;;) {
    const [next] = await deletableFor(options);
    options.signal?.throwIfAborted();
    if (!next || deleted.includes(next.name) || !(await next.remove()).ok) return deleted;
    deleted.push(next.name);
  }
}

/** The deletions to make, in this order. Empty if there is room, or if all deletions would not be enough. */
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

/** A tag is a link to a digest, and is deleted with it. If Tart gives no answer, the list is empty. */
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
