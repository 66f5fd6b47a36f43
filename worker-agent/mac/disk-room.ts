/** Says how large the disk of a folder is, and what of it is free. */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface DiskRoom {
  totalBytes: number;
  freeBytes: number;
}

/** Of the disk on which the folder is, or on which it would be made. */
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
