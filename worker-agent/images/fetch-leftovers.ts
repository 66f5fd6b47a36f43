/**
 * Removes what fetches of images leave on the disk: the VM that a snapshot is made in, the snapshot that the
 * script had begun, and what was pulled.
 *
 * Invariant: nothing is removed that an image has entered, or that has no name of a fetch of this Mac.
 */
import { isSnapshotOf } from '../config.ts';
import type { Tart } from '../tart/tart.ts';
import type { Images } from './images.ts';
import { generationsOf } from './roll-out.ts';

export interface LeftoversOptions {
  images: Pick<Images, 'list'>;
  tart: Pick<Tart, 'list' | 'remove' | 'removePulled'>;
}

const MAKING = '-making';
/** create-base-image.sh makes a snapshot under this name while another one has its own. */
const BEGUN = '-new';

/** The VM that the script works in. After a restart of the agent the fetch goes on from it. */
export const makingName = (snapshot: string): string => `${snapshot}${MAKING}`;

/** The names of the VMs here, and of the pulled images. Rejects if Tart does not say it. */
export async function listVms(
  tart: Pick<Tart, 'list'>,
  signal?: AbortSignal,
): Promise<{ local: string[]; pulled: string[] }> {
  const listed = await tart.list(signal);
  if (!listed.ok) throw new Error(listed.message);
  const namesOf = (of: 'local' | 'oci') => listed.vms.filter(({ source }) => source === of).map(({ name }) => name);
  return { local: namesOf('local'), pulled: namesOf('oci') };
}

/** What a fetch leaves beside a snapshot that is entered. One that no image has entered goes too. */
export async function removeRest(
  { tart, images }: LeftoversOptions,
  snapshot: string,
  signal?: AbortSignal,
): Promise<void> {
  const entered = images.list().flatMap((image) => [...generationsOf(image).map(({ vm }) => vm), ...image.unwanted]);
  const rest = [`${snapshot}${BEGUN}`, ...(entered.includes(snapshot) ? [] : [snapshot]), makingName(snapshot)];
  const { local } = await listVms(tart, signal);
  for (const vm of rest.filter((name) => local.includes(name))) requireOk(await tart.remove(vm, { signal }));
}

/** Removes what former fetches have left, but for these snapshots. */
export async function removeFormer(
  { tart, images }: LeftoversOptions,
  kept: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { local, pulled } = await listVms(tart, signal);
  for (const name of local.filter((vm) => vm.endsWith(MAKING))) {
    const snapshot = name.slice(0, -MAKING.length);
    if (!images.list().some((image) => isSnapshotOf(image, snapshot)) || kept.includes(snapshot)) continue;
    for (const copy of pulled.filter((reference) => reference.slice(-64, -52) === snapshot.slice(-12)))
      requireOk(await tart.removePulled(copy));
    await removeRest({ tart, images }, snapshot, signal);
  }
}

function requireOk(result: { ok: true } | { ok: false; message: string }): void {
  if (!result.ok) throw new Error(result.message);
}
