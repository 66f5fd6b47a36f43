/**
 * Deletes the leftovers of image fetches: the VM that a snapshot is made in, the snapshot that the script had
 * begun, and the pulled image.
 *
 * Invariant: never deletes a VM that an image has entered, or one that is not named after a fetch of this
 * Mac.
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
/** create-base-image.sh gives a new snapshot this suffix while another VM has the snapshot's own name. */
const BEGUN = '-new';

/** The VM that the script works in. After a restart of the agent the fetch continues in it. */
export const makingName = (snapshot: string): string => `${snapshot}${MAKING}`;

/** The names of the VMs and of the pulled images of this Mac. Rejects if Tart gives no list. */
export async function listVms(
  tart: Pick<Tart, 'list'>,
  signal?: AbortSignal,
): Promise<{ local: string[]; pulled: string[] }> {
  const listed = await tart.list(signal);
  if (!listed.ok) throw new Error(listed.message);
  const namesOf = (of: 'local' | 'oci') => listed.vms.filter(({ source }) => source === of).map(({ name }) => name);
  return { local: namesOf('local'), pulled: namesOf('oci') };
}

/**
 * Deletes what a fetch leaves beside an entered snapshot. Deletes the snapshot too if no image has entered
 * it.
 */
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

/** Deletes the leftovers of former fetches, except those of the `kept` snapshots. */
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
