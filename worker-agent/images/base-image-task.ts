/**
 * Decides what `expo-worker base-image` makes: which image, from what, and in which VMs. It only asks Tart.
 *
 * Invariant: this file refuses an impossible task before anything is reckoned, deleted or downloaded.
 */
import { baseImageName, snapshotName } from '../config.ts';
import { CommandError, EXIT } from '../exit-codes.ts';
import { GB_BYTES } from '../health-checks/figures.ts';
import type { Tart } from '../tart/tart.ts';
import type { Images, ImageView } from './images.ts';
import type { Generation } from './images-file.ts';
import { type ImageSource, readPublicImages, sourceOf } from './public-images.ts';

/** The image to make, and where. */
export interface Task {
  image: ImageView;
  source: ImageSource;
  /** `--from` of the script. */
  from: string | undefined;
  /** The VM that the script works in. */
  vm: string;
  snapshot: string;
  /** True if the script works in a VM of its own, and not in that of the present image. */
  isRollOut: boolean;
}

export interface TaskOptions {
  images: Images;
  tart: Tart;
  /** The name of the image. Default: the first of the config. */
  name?: string | undefined;
  /** A row of public-images, a VM of this Mac, or an image of a registry. */
  from?: string | undefined;
  /** Further options of create-base-image.sh. */
  more: readonly string[];
}

export interface Vms {
  /** The GB that each VM of this Mac takes. */
  local: Map<string, number>;
  pulled: Set<string>;
}

export async function vmsOf(tart: Tart, signal?: AbortSignal): Promise<Vms> {
  const listed = await tart.list(signal);
  if (!listed.ok) throw new CommandError(listed.message);
  const local = new Map<string, number>();
  for (const { name } of listed.vms.filter(({ source }) => source === 'local'))
    local.set(name, ((await tart.diskBytes(name)) ?? 0) / GB_BYTES);
  return { local, pulled: new Set(listed.vms.filter(({ source }) => source === 'oci').map(({ name }) => name)) };
}

/** The image of this name, or the first image without a name. Throws CommandError. */
export function imageNamed<Image extends { name: string }>(all: readonly Image[], name: string | undefined): Image {
  const found = name === undefined ? all[0] : all.find((image) => image.name === name);
  if (found) return found;
  const names = all.map((image) => image.name).join(', ');
  throw new CommandError(`the config of this Mac has no image ${name}; it has ${names}`, EXIT.usage);
}

/** Throws CommandError if the image cannot be made, or if nobody has said from which source. */
export async function taskOf({ images, tart, name, from, more }: TaskOptions, { local }: Vms): Promise<Task> {
  const image = imageNamed(images.list(), name);
  const { vmName: vm, current } = image;
  const ownXcode = more.includes('--xcode');
  if (from !== undefined && !from.includes('/') && !local.has(from) && !namesOfPublic().includes(from))
    throw new CommandError(
      `--from: this Mac has no VM ${from}, and vm-image/public-images has no such name. It has ${namesOfPublic().join(', ')}. An image in a registry is REPOSITORY@sha256:DIGEST`,
      EXIT.usage,
    );
  if (local.has(current.vm) && !more.includes('--force')) return await rollOutOf(image, from, tart, local);
  const known = local.has(vm) || ownXcode ? undefined : (current.reference ?? undefined);
  const source = from ?? known;
  if (source === undefined && !local.has(vm) && !ownXcode && images.list().length > 1)
    throw new CommandError(
      `say with --from what ${image.name} is made from; the names are in vm-image/public-images: ${namesOfPublic().join(', ')}`,
      EXIT.usage,
    );
  return {
    ...{ image, vm, from: source, snapshot: freeSnapshot(image, local), isRollOut: false },
    source: sourceOf({ from: source, ownXcode }, local),
  };
}

/** A name that no VM of this Mac and no other generation has, so that nothing is overwritten. */
function freeSnapshot(image: ImageView, local: Vms['local']): string {
  const { previous, candidate, unwanted } = image;
  const taken = new Set([...local.keys(), ...unwanted, ...[previous, candidate].flatMap((one) => one?.vm ?? [])]);
  const first = baseImageName(image);
  for (let number = 2, name = first; ; name = `${first}-${number++}`) if (!taken.has(name)) return name;
}

/** The generation that was last made in the VM of the image, if it is known. */
export const lastMadeIn = (image: ImageView): Generation | undefined =>
  [image.candidate, image.current, image.previous].find((one) => one?.vm.startsWith(baseImageName(image))) ?? undefined;

const namesOfPublic = () => readPublicImages().map(({ name }) => name);

async function rollOutOf(image: ImageView, asked: string | undefined, tart: Tart, local: Vms['local']): Promise<Task> {
  const source = sourceOf({ from: asked, ownXcode: false }, local);
  if (asked === undefined || source.reference === null)
    throw new CommandError(
      `the image ${image.name} is there already, as ${image.current.vm}. Make it anew with --force, or make another one beside it with --from REPOSITORY@sha256:DIGEST`,
      EXIT.usage,
    );
  const reference = await byDigest(source, tart);
  if (!/@sha256:[0-9a-f]{64}$/.test(reference))
    throw new CommandError(
      `--from: ${reference} must be REPOSITORY@sha256:DIGEST, with 64 hexadecimal digits`,
      EXIT.usage,
    );
  const snapshot = snapshotName(image, reference);
  const why = local.has(snapshot) ? whyThere(image, snapshot) : null;
  if (why !== null) throw new CommandError(why, EXIT.usage);
  // The name of a row tells the script which Macs are too old for the image.
  const from = reference === source.reference ? asked : reference;
  return {
    ...{ image, from, vm: `${image.vmName}-next`, snapshot, isRollOut: true },
    source: { ...source, reference },
  };
}

/**
 * Why no image of this digest may be made beside the present one. Null for the candidate, which is examined.
 */
function whyThere({ name, current, previous, candidate }: ImageView, snapshot: string): string | null {
  if (snapshot === candidate?.vm) return null;
  const asked = 'the image of this digest that --from names';
  if (snapshot === current.vm)
    return `builds of ${name} are cloned from ${asked} already: ${snapshot}. --force without --from repairs it`;
  if (snapshot === previous?.vm)
    return `${asked} is the previous snapshot of ${name}: ${snapshot}. \`expo-worker images back ${name}\` returns to it`;
  return `${asked} is on this Mac, and not in use: ${snapshot}. Delete it with \`tart delete ${snapshot}\`, then run this again`;
}

/** The VM of a new snapshot is named after the digest. Tart knows the digest of a tag once it is pulled. */
async function byDigest({ reference, size }: ImageSource, tart: Tart): Promise<string> {
  if (reference!.includes('@')) return reference!;
  const named = await tart.digestName(reference!);
  if (named.ok) return named.reference;
  throw new CommandError(
    `nobody has written down the digest of ${reference}, and a new snapshot beside the present one has its name from it. ` +
      `Run \`tart pull ${reference}\` (about ${Math.ceil(size.downloadGb)} GB), then run this again. ` +
      `\`tart fqn ${reference}\` prints the digest, for your other Macs`,
    EXIT.usage,
  );
}
