/**
 * Publishes an image of this Mac: takes a clone of it, frees it of the keys of this Mac, and pushes it.
 *
 * Invariant: only a VM that the script has freed of the keys is pushed. Both it and the clone are deleted.
 */
import { ImageReference } from '#contract';
import type { AgentConfig } from '../config.ts';
import { CommandError, EXIT } from '../exit-codes.ts';
import { GB_BYTES } from '../health-checks/figures.ts';
import type { DiskRoom } from '../mac/disk-room.ts';
import type { TartResult } from '../tart/answers.ts';
import type { Tart } from '../tart/tart.ts';
import type { WithTerminal } from './base-image.ts';
import { imageNamed } from './base-image-task.ts';
import { roomForClone } from './disk-plan.ts';
import type { Images, ImageView } from './images.ts';
import { makeImage } from './make-image.ts';

const REPOSITORY = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?(\/[a-z0-9]+([._-]+[a-z0-9]+)*)+$/;
/** Docker's rule for a tag. */
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

export interface PublishOptions {
  config: AgentConfig;
  images: Images;
  tart: Tart;
  name?: string | undefined;
  /** `REGISTRY/NAME`, or `REGISTRY/NAME:TAG`. */
  to: string;
  /** Further options of create-base-image.sh. */
  more: readonly string[];
  roomOf(folder: string): Promise<DiskRoom>;
  say(line: string): void;
  onLine?: ((line: string) => void) | undefined;
  withTerminal?: WithTerminal | undefined;
  signal?: AbortSignal;
}

/** Resolves with the exit code. Rejects with CommandError. */
export async function publishImage(options: PublishOptions): Promise<number> {
  const { config, images, tart, say, roomOf, signal, onLine, withTerminal = (script) => script() } = options;
  const image = imageNamed(images.list(), options.name);
  const { vm: source, provisioned } = image.current;
  const reference = referenceOf(options.to, provisioned);
  const { freeBytes } = await roomOf(tart.home);
  const needGb = roomForClone(config.minFreeDiskGb, []);
  if (freeBytes < needGb * GB_BYTES)
    throw new CommandError(
      `The disk of ${tart.home} has ${Math.floor(freeBytes / GB_BYTES)} GB free, and publishing needs ${needGb} GB. Free some of it: \`tart list\` shows the VMs, and \`tart delete NAME\` deletes one`,
    );

  const vm = `${image.vmName}-publishing`;
  const free = `${image.vmName}-published`;
  // A former run may have left these VMs.
  for (const name of [vm, free]) orThrow(await tart.remove(name, { signal }));
  let exitCode: number;
  try {
    orThrow(await tart.clone(source, vm, signal));
    const more = ['--for-publication', '--snapshot', free, ...options.more];
    ({ exitCode } = await withTerminal(() => makeImage({ config, vm, more, signal, onLine })));
    if (exitCode === 0) {
      say(`Pushing ${source} to ${reference}. The first time this can take hours`);
      orThrow(await tart.push(free, reference, { onPercent: eachTenth(say), signal }));
    }
  } finally {
    for (const name of [vm, free]) await tart.remove(name);
  }
  if (exitCode !== 0) {
    say(`Nothing was published, and the clone was deleted.${isStopped(exitCode) ? '' : await repairOf(image, tart)}`);
    return exitCode;
  }
  const named = orThrow(await tart.digestName(reference));
  await tart.removePulled(reference);
  await tart.removePulled(named.reference);
  noteReference(images, image.name, source, named.reference);
  say(`Published: ${named.reference}`);
  return EXIT.ok;
}

/** With the reference, a pool that names this image finds it on this Mac already. */
function noteReference(images: Images, name: string, vm: string, text: string): void {
  const { current } = imageNamed(images.list(), name);
  const reference = ImageReference.safeParse(text);
  if (reference.success && current.vm === vm) images.record(name, { ...current, reference: reference.data });
}

/** True after Ctrl-C or another signal. */
const isStopped = (exitCode: number) => exitCode > 128;

/** The advice of the script is about the clone, so this gives the advice for the image. */
async function repairOf({ name, vmName }: ImageView, tart: Tart): Promise<string> {
  const listed = await tart.list();
  const isThere = listed.ok && listed.vms.some((vm) => vm.name === vmName);
  const force = `\`expo-worker base-image --image ${name} --force\``;
  const how = isThere ? `\`tart run ${vmName}\`, then ${force}` : `${force} makes it anew`;
  return ` Repair the image itself (${how}), then publish again.`;
}

function eachTenth(say: (line: string) => void): (percent: number) => void {
  let saidPercent = 0;
  return (percent) => {
    if (percent < saidPercent + 10) return;
    saidPercent = percent;
    say(`${percent} %`);
  };
}

function referenceOf(to: string, provisioned: string | null): string {
  const at = to.lastIndexOf(':');
  const hasTag = at > to.lastIndexOf('/');
  const repository = hasTag ? to.slice(0, at) : to;
  const tag = hasTag ? to.slice(at + 1) : (provisioned?.slice(0, 12) ?? 'latest');
  if (REPOSITORY.test(repository) && TAG.test(tag)) return `${repository}:${tag}`;
  throw new CommandError(
    `--publish: ${to} is not REGISTRY/NAME or REGISTRY/NAME:TAG, such as ghcr.io/acme/xcode:26`,
    EXIT.usage,
  );
}

function orThrow<T>(result: TartResult<T>): { ok: true } & T {
  if (result.ok) return result;
  throw new CommandError(result.message);
}
