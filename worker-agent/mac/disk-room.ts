/** Tells how large the disk of a folder is, and how much of it is free. */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface DiskRoom {
  totalBytes: number;
  freeBytes: number;
}

/** The room on the disk of the folder. The folder need not exist yet. */
export async function diskRoomOf(folder: string): Promise<DiskRoom> {
  try {
    const { blocks, bavail, bsize } = await statfs(folder);
    return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
  } catch (error) {
    const parent = dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === folder) throw error;
    return await diskRoomOf(parent);
  }
}
