/**
 * Makes an image of this Mac: reckons what it needs, lets a person accept the plan, runs the script, and
 * enters what it has made.
 *
 * Invariant: nothing is downloaded, deleted or changed before the plan fits the disk and was accepted.
 */
import { dirname, join } from 'node:path';
import { ImageReference } from '#contract';
import { type AgentConfig, changeConfig, type ImageConfig } from '../config.ts';
import { CommandError, EXIT } from '../exit-codes.ts';
import { GB_BYTES } from '../health-checks/figures.ts';
import type { DiskRoom } from '../mac/disk-room.ts';
import { lastMadeIn, type Task, type TaskOptions, taskOf, type Vms, vmsOf } from './base-image-task.ts';
import { type DiskPlan, type PlannedImage, planDisk, planInWords, roomForRollOut } from './disk-plan.ts';
import type { ImageView, NewGeneration } from './images.ts';
import { madeWithOf, readMadeWith, writeMadeWith } from './made-with.ts';
import { type Made, makeImage } from './make-image.ts';
import { type Deletable, deletableFor } from './make-room.ts';
import { readKeptByPlan, writeKeptByPlan } from './plan-file.ts';
import { sizeOfLargest, sourceOf } from './public-images.ts';
import { removeWorkshop } from './workshop.ts';

export interface BaseImageOptions extends TaskOptions {
  config: AgentConfig;
  configPath: string;
  /** Accepts every plan without a question. */
  yes: boolean;
  roomOf(folder: string): Promise<DiskRoom>;
  say(line: string): void;
  /** Null if no person can be asked. */
  ask: ((question: string) => Promise<boolean>) | null;
  /** Gets each line of the script. Without it the script has the terminal. */
  onLine?: ((line: string) => void) | undefined;
  /** Runs the script. Meanwhile Ctrl-C reaches only the script. */
  withTerminal?: WithTerminal | undefined;
  signal: AbortSignal;
}

export type WithTerminal = <T>(script: () => Promise<T>) => Promise<T>;

/** Resolves with the exit code. Rejects with CommandError if it cannot begin. */
export async function makeBaseImage(options: BaseImageOptions): Promise<number> {
  const { config, configPath, tart, more, signal, withTerminal = (script) => script() } = options;
  const stateDir = join(dirname(configPath), 'state');
  const there = await vmsOf(tart, signal);
  const task = await taskOf(options, there);
  const { candidate } = task.image;
  if (task.isRollOut && candidate?.vm === task.snapshot && there.local.has(candidate.vm))
    return await examine(options, task, candidate, readKeptByPlan(stateDir));
  const before = readMadeWith(stateDir, lastMadeIn(task.image)?.vm ?? task.snapshot);
  const plan = await acceptedPlan(options, task, there);
  if (!plan) return EXIT.interrupted;

  const make = () =>
    makeImage({
      ...{ config, vm: task.vm, onLine: options.onLine, signal },
      more: [
        ...['--snapshot', task.snapshot],
        ...(task.from === undefined ? [] : ['--from', task.from]),
        ...(plan.keepPulled ? [] : ['--drop-pulled']),
        ...more,
      ],
    });
  const { exitCode, result } = await withTerminal(make);
  if (exitCode !== 0 || !result) return exitCode;
  writeKeptByPlan(stateDir, plan);
  const madeWith = madeWithOf(more, there.local.has(task.vm) ? before : undefined);
  writeMadeWith(stateDir, task.snapshot, madeWith, options.images.list());
  if (plan.slots < config.maxConcurrentBuilds) await changeConfig(configPath, { maxConcurrentBuilds: plan.slots });
  try {
    return await enter(options, task, result, plan);
  } finally {
    if (task.isRollOut) await tart.remove(task.vm);
  }
}

async function enter(
  options: BaseImageOptions,
  task: Task,
  { digest, provisioned, from }: NonNullable<Made['result']>,
  kept: Pick<DiskPlan, 'keepPrevious'>,
): Promise<number> {
  const { snapshot: vm } = task;
  const reference = ImageReference.safeParse(from);
  const generation = { vm, digest, provisioned, reference: reference.success ? reference.data : null };
  if (task.isRollOut || vm !== task.image.current.vm) return await examine(options, task, generation, kept);
  options.images.record(task.image.name, generation);
  return EXIT.ok;
}

async function examine(
  { images, tart, signal, say }: BaseImageOptions,
  { image: { name, vmName }, isRollOut }: Task,
  generation: NewGeneration,
  { keepPrevious }: Pick<DiskPlan, 'keepPrevious'>,
): Promise<number> {
  const { vm } = generation;
  const notUsed = (why: string) =>
    say(`${vm} is not used: ${why}. \`expo-worker images promote ${name}\` uses it all the same.`);
  say(`Examining a clone of ${vm} before builds get it`);
  try {
    const added = await images.addCandidate(name, generation, { signal, keepPrevious });
    if (added !== 'switched') {
      notUsed(added.failed);
      return EXIT.failure;
    }
  } catch (error) {
    if (signal.aborted) notUsed('it was not examined to the end');
    throw error;
  }
  if (isRollOut) await removeWorkshop(tart, vmName);
  return EXIT.ok;
}

/** Null if a person has refused the plan. Throws CommandError if nothing fits, or if nobody can be asked. */
async function acceptedPlan(options: BaseImageOptions, task: Task, there: Vms): Promise<DiskPlan | null> {
  const { source } = task;
  const { config, tart, yes, ask, say, roomOf, signal } = options;
  const slots = config.maxConcurrentBuilds;
  const views = options.images.list();
  const images = views.map((image) => plannedOf(image, task, there));
  const planFor = (freeGb: number) => planDisk({ freeGb, images, slots, growthGb: config.minFreeDiskGb });
  const neededBytes = planFor(0).plan.needGb * GB_BYTES;
  const { freeBytes, totalBytes } = await roomOf(tart.home);
  const room = { tart, images: views, keep: [source.reference], neededBytes, roomOf, signal };
  const deletable = await deletableFor(room);
  const freeGb = deletable.reduce((sum, { bytes }) => sum + bytes, freeBytes) / GB_BYTES;
  const result = planFor(freeGb);
  const { fits, plan } = result;
  say(`Image ${task.image.name}, from ${source.words}, on a disk of ${Math.round(totalBytes / GB_BYTES)} GB`);
  if (!source.isSizeKnown) say('Its size is not known. It is taken to be that of the largest public image.');
  if (deletable.length > 0)
    say(`Only ${Math.floor(freeBytes / GB_BYTES)} GB are free, so these are deleted first: ${inWords(deletable)}`);
  for (const line of planInWords(result, freeGb, slots)) say(line);
  if (!fits) throw new CommandError('the image was not made, because it does not fit');
  if (task.isRollOut && !plan.keepPrevious) {
    const needGb = roomForRollOut(source.size, config.minFreeDiskGb);
    if (needGb > freeGb)
      throw new CommandError(
        `${Math.ceil(needGb)} GB are needed to make the new image beside the present one, and ${Math.floor(freeGb)} GB are free. ` +
          `Delete the present one first: \`tart delete ${presentVms(task.image, there).join(' ')}\`. ` +
          `Until the new image is made, no build of this Mac gets the image ${task.image.name}`,
      );
  }
  const givesUp = !plan.keepPulled || !plan.keepPrevious || plan.slots < slots || deletable.length > 0;
  if (!yes && !ask && givesUp)
    throw new CommandError(
      'standard input is no terminal, so base-image cannot ask. Give --yes to accept this plan',
      EXIT.usage,
    );
  if (!yes && ask && !(await ask('Make the image by this plan?'))) return null;
  await deleteFirst(deletable, plan, options);
  return plan;
}

const inWords = (deletable: readonly Deletable[]) =>
  deletable.map(({ name, bytes }) => `${name} (${Math.ceil(bytes / GB_BYTES)} GB)`).join(', ');

/** Throws CommandError if this has freed too little, because images share blocks with VMs. */
async function deleteFirst(
  deletable: readonly Deletable[],
  { needGb }: DiskPlan,
  { tart, roomOf, say }: BaseImageOptions,
): Promise<void> {
  if (deletable.length === 0) return;
  for (const { name, remove } of deletable) if ((await remove()).ok) say(`Deleted ${name}`);
  const freeGb = (await roomOf(tart.home)).freeBytes / GB_BYTES;
  if (freeGb >= needGb) return;
  throw new CommandError(
    `${Math.ceil(needGb)} GB are needed, and after that only ${Math.floor(freeGb)} GB are free, because VMs of this Mac hold the same blocks. ` +
      'Run this again for another plan',
  );
}

/** These VMs share blocks, so deleting only one of them frees little. */
const presentVms = ({ current, vmName }: ImageView, { local }: Vms): string[] =>
  [current.vm, vmName].filter((vm) => local.has(vm));

function plannedOf(
  { name, vmName, current }: ImageConfig & ImageView,
  { image, source }: Task,
  there: Vms,
): PlannedImage {
  const isLater = name !== image.name;
  const isMade = there.local.has(current.vm);
  if (isLater)
    return isMade
      ? { name, isLater, size: sourceOf({ ownXcode: false }, there.local).size, present: 'provisioned' }
      : { name, isLater, size: sizeOfLargest(), present: 'nothing' };
  if (isMade) return { name, size: source.size, present: 'provisioned' };
  const isUnpacked = source.reference === null || there.pulled.has(source.reference) || there.local.has(vmName);
  return { name, size: source.size, present: isUnpacked ? 'unpacked' : 'nothing' };
}
