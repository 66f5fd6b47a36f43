/**
 * Deletes the VM that an image was made in, once another one has taken its place. Both share their blocks, so
 * that deleting only the former image would free nothing.
 *
 * Invariant: only a VM that create-base-image.sh has cloned from a registry is deleted. It leaves its mark
 * beside the disk.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Tart } from '../tart/tart.ts';

export async function removeWorkshop(tart: Pick<Tart, 'home' | 'remove'>, vm: string): Promise<void> {
  if (existsSync(join(tart.home, 'vms', vm, 'tartbeat-from'))) await tart.remove(vm);
}
