/**
 * Makes an image of this Mac: reckons what it needs, lets a person accept the plan, runs the script, and
 * enters what it has made.
 *
 * Invariant: nothing is downloaded before the plan fits the disk and was accepted.
 */
import { dirname, join } from 'node:path';
import { ImageReference } from '#contract';
import { type AgentConfig, baseImageName, changeConfig, type ImageConfig } from '../config.ts';
import { CommandError, EXIT } from '../exit-codes.ts';
import type { DiskRoom } from '../mac/disk-room.ts';
import type { Tart } from '../tart/tart.ts';
import { type DiskPlan, type PlannedImage, planDisk, planInWords, roomForRollOut } from './disk-plan.ts';
import type { Images, ImageView } from './images.ts';
import { type Made, makeImage } from './make-image.ts';
import { writeKeptByPlan } from './plan-file.ts';
import { type ImageSource, sourceOf } from './public-images.ts';
import { makeRoom } from './pulled-images.ts';
import { removeWorkshop } from './workshop.ts';

const GB_BYTES = 1e9;

export interface BaseImageOptions {
  config: AgentConfig;
  configPath: string;
  images: Images;
  tart: Tart;
  /** The name of the image. Default: the first of the config. */
  name?: string | undefined;
  /** A row of public-images, a VM of this Mac, or an image of a registry. */
  from?: string | undefined;
  /** Further options of create-base-image.sh. */
  more: readonly string[];
  /** The plan is accepted whatever it gives up. */
  yes: boolean;
  roomOf(folder: string): Promise<DiskRoom>;
  say(line: string): void;
  /** Null: there is nobody who could be asked. */
  ask: ((question: string) => Promise<boolean>) | null;
  /** Gets each line of the script, which otherwise has the terminal. */
  onLine?: ((line: string) => void) | undefined;
  signal: AbortSignal;
}

/** What is made, and where. */
interface Task {
  image: ImageView;
  /** The VM that the script works in. */
  vm: string;
  snapshot: string;
  /** True if the present image stays beside it until doctor has passed. */
  isRollOut: boolean;
}

/** Resolves with the exit code. Rejects with CommandError if it cannot begin. */
export async function makeBaseImage(options: BaseImageOptions): Promise<number> {
  const { images, config, configPath, tart, from, more, say, signal } = options;
  const there = await vmsOf(tart);
  const image = imageNamed(images, options.name);
  const task = taskOf(image, there, options);
  const source = sourceOf({ from, ownXcode: more.includes('--xcode') }, there.local);
  const plan = await acceptedPlan(options, task, source, there);
  if (!plan) return EXIT.interrupted;
  writeKeptByPlan(join(dirname(configPath), 'state'), plan);
  if (plan.slots < config.maxConcurrentBuilds) await changeConfig(configPath, { maxConcurrentBuilds: plan.slots });

  const made = await makeImage({
    ...{ config, vm: task.vm, onLine: options.onLine, signal },
    more: [
      ...['--snapshot', task.snapshot],
      ...(from === undefined ? [] : ['--from', from]),
      ...(plan.keepPulled ? [] : ['--drop-pulled']),
      ...more,
    ],
  });
  if (made.exitCode !== 0 || !made.result) return made.exitCode;
  const failed = await enter(options, task, made.result, plan);
  if (task.isRollOut) await tart.remove(task.vm);
  if (task.isRollOut && failed === null) await removeWorkshop(tart, image.vmName);
  if (failed === null) return EXIT.ok;
  say(`${task.snapshot} is not used: ${failed}. \`expo-worker images promote ${image.name}\` uses it all the same.`);
  return EXIT.failure;
}

async function enter(
  { images, signal, say }: BaseImageOptions,
  { image, isRollOut }: Task,
  { snapshot: vm, digest, provisioned, from }: NonNullable<Made['result']>,
  { keepPrevious }: DiskPlan,
): Promise<string | null> {
  const reference = ImageReference.safeParse(from);
  const generation = { vm, digest, provisioned, reference: reference.success ? reference.data : null };
  if (!isRollOut && vm === image.current.vm) {
    images.record(image.name, generation);
    return null;
  }
  say(`Examining a clone of ${vm} before builds get it`);
  const added = await images.addCandidate(image.name, generation, { signal, keepPrevious });
  return added === 'switched' ? null : added.failed;
}

interface Vms {
  /** What each VM of this Mac takes, in GB. */
  local: Map<string, number>;
  pulled: Set<string>;
}

async function vmsOf(tart: Tart): Promise<Vms> {
  const listed = await tart.list();
  if (!listed.ok) throw new CommandError(listed.message);
  const local = new Map<string, number>();
  for (const { name } of listed.vms.filter(({ source }) => source === 'local'))
    local.set(name, ((await tart.diskBytes(name)) ?? 0) / GB_BYTES);
  return { local, pulled: new Set(listed.vms.filter(({ source }) => source === 'oci').map(({ name }) => name)) };
}

export function imageNamed(images: Images, name: string | undefined): ImageView {
  const all = images.list();
  const found = name === undefined ? all[0] : all.find((image) => image.name === name);
  if (found) return found;
  const names = all.map((image) => image.name).join(', ');
  throw new CommandError(`the config of this Mac has no image ${name}; it has ${names}`, EXIT.usage);
}

function taskOf(image: ImageView, { local }: Vms, { from, more }: BaseImageOptions): Task {
  const { vmName: vm, name } = image;
  const isThere = local.has(image.current.vm);
  if (!isThere || more.includes('--force')) return { image, vm, snapshot: baseImageName(image), isRollOut: false };
  const digest = /@sha256:([0-9a-f]{12})/.exec(sourceOf({ from, ownXcode: false }, local).reference ?? '')?.[1];
  if (from === undefined || digest === undefined)
    throw new CommandError(
      `the image ${name} is there already, as ${image.current.vm}. Make it anew with --force, or make another one beside it with --from REPOSITORY@sha256:DIGEST`,
      EXIT.usage,
    );
  return { image, vm: `${vm}-next`, snapshot: `${vm}-base-${digest}`, isRollOut: true };
}

/** Null if a person has refused it. Throws CommandError if nothing fits, or if nobody can be asked. */
async function acceptedPlan(
  options: BaseImageOptions,
  task: Task,
  source: ImageSource,
  there: Vms,
): Promise<DiskPlan | null> {
  const { config, tart, yes, ask, say, roomOf, signal } = options;
  const slots = config.maxConcurrentBuilds;
  const views = options.images.list();
  const images = views.map((image) => plannedOf(image, task, source, there));
  const planFor = (freeGb: number) => planDisk({ freeGb, images, slots, growthGb: config.minFreeDiskGb });
  const neededBytes = planFor(0).plan.needGb * GB_BYTES;
  for (const name of await makeRoom({ tart, images: views, keep: [source.reference], neededBytes, roomOf, signal }))
    say(`Deleted ${name}, to make room`);
  const { freeBytes, totalBytes } = await roomOf(tart.home);
  const freeGb = freeBytes / GB_BYTES;
  const result = planFor(freeGb);
  const { fits, plan } = result;
  say(`Image ${task.image.name}, from ${source.words}, on a disk of ${Math.round(totalBytes / GB_BYTES)} GB`);
  if (!source.isSizeKnown) say('Its size is not known. It is taken to be that of the largest public image.');
  for (const line of planInWords(result, freeGb, slots)) say(line);
  if (!fits) throw new CommandError('the image was not made, because it does not fit');
  if (task.isRollOut && !plan.keepPrevious) {
    const needGb = roomForRollOut(source.size, config.minFreeDiskGb);
    if (needGb > freeGb)
      throw new CommandError(
        `${Math.ceil(needGb)} GB are needed to make the new image beside the present one, and ${Math.floor(freeGb)} GB are free. ` +
          `Delete the present one first: tart delete ${task.image.current.vm}`,
      );
  }
  const givesUp = !plan.keepPulled || !plan.keepPrevious || plan.slots < slots;
  if (yes || (!ask && !givesUp)) return plan;
  if (!ask)
    throw new CommandError(
      'standard input is no terminal, so base-image cannot ask. Give --yes to accept this plan',
      EXIT.usage,
    );
  return (await ask('Make the image by this plan?')) ? plan : null;
}

function plannedOf(image: ImageConfig & ImageView, task: Task, source: ImageSource, there: Vms): PlannedImage {
  const { name, vmName, current } = image;
  const isThis = name === task.image.name;
  const madeGb = there.local.get(current.vm);
  if (madeGb !== undefined) {
    const { size } = isThis ? source : sourceOf({ ownXcode: false }, there.local);
    return { name, size, present: 'provisioned' };
  }
  if (!isThis)
    return { name, size: sourceOf({ from: 'unknown', ownXcode: false }, there.local).size, present: 'nothing' };
  const isUnpacked = source.reference === null || there.pulled.has(source.reference) || there.local.has(vmName);
  return { name, size: source.size, present: isUnpacked ? 'unpacked' : 'nothing' };
}
