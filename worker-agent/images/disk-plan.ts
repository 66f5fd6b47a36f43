/**
 * Reckons how much disk the images of a Mac and their clones take, and what to give up so that they fit.
 * Pure.
 *
 * Invariant: a plan never needs more than the disk has free, also while the images are made. GB are 10^9
 * bytes everywhere.
 */
import { MAC_MEMORY_GB, VMS_PER_MAC_MAX } from '../config.ts';

/** The room that one image takes. */
export interface ImageSize {
  /** Compressed. Tart unpacks while it downloads, so the download takes no room of its own. */
  downloadGb: number;
  unpackedGb: number;
}

export interface PlannedImage {
  name: string;
  size: ImageSize;
  /** The form in which this disk already has the image. */
  present: 'nothing' | 'unpacked' | 'provisioned';
  /** The config has this image, but this run does not make it. */
  isLater?: boolean;
}

export interface PlanRequest {
  freeGb: number;
  images: readonly PlannedImage[];
  /** How many clones run at once. */
  slots: number;
  /** The growth of a clone while its build runs, at most: `minFreeDiskGb` of the config. */
  growthGb: number;
}

export interface PlanPart {
  what: string;
  gb: number;
}

export interface DiskPlan {
  /** Keep the copy that `tart pull` made, so that the image can be made anew without a download. */
  keepPulled: boolean;
  /** Keep the previous image after a roll-out until the new one has proved itself. */
  keepPrevious: boolean;
  slots: number;
  /** How many images the plan has room for. */
  images: number;
  downloadGb: number;
  /** The part of the download that this run downloads. */
  downloadNowGb: number;
  parts: PlanPart[];
  totalGb: number;
  /** The part of the total that is on the disk already. */
  presentGb: number;
  /** The rest of the total. */
  needGb: number;
}

export type PlanResult = { fits: boolean; plan: DiskPlan };

/** Homebrew, Ruby, Node, Expo's engine, and what macOS writes at its first boots. */
const PROVISIONING_GB = 12;
/** Sources, artifacts, logs and caches of builds, which the agent keeps beside its VMs. */
export const CACHES_GB = 10;
/** macOS becomes slow, and VMs freeze, before a disk is quite full. */
const LEFT_FREE_GB = 10;
/** The room that an image that comes provisioned needs here: the key of this Mac, and one boot. */
const KEY_GB = 3;

/** From the plan that keeps everything to the one that keeps nothing. The first plan that fits is offered. */
const RUNGS = [
  { keepPulled: true, keepPrevious: true },
  { keepPulled: true, keepPrevious: false },
  { keepPulled: false, keepPrevious: false },
] as const;

/** If nothing fits, `plan` is the smallest. */
export function planDisk(request: PlanRequest): PlanResult {
  const fewerSlots = Array.from({ length: request.slots - 1 }, (_, index) => request.slots - 1 - index);
  const plans = [
    ...RUNGS.map((rung) => reckon(request, { ...rung, slots: request.slots })),
    ...fewerSlots.map((slots) => reckon(request, { ...RUNGS[2], slots })),
  ];
  const plan = plans.find(({ needGb }) => needGb <= request.freeGb);
  return plan ? { fits: true, plan } : { fits: false, plan: plans.at(-1)! };
}

type Rung = Pick<DiskPlan, 'keepPulled' | 'keepPrevious' | 'slots'>;

function reckon({ images, growthGb }: PlanRequest, rung: Rung): DiskPlan {
  const { keepPulled, keepPrevious, slots } = rung;
  const sum = (of: (image: PlannedImage) => number) => images.reduce((gb, image) => gb + of(image), 0);
  const unpackedGb = sum(({ size }) => size.unpackedGb);
  const provisioningGb = PROVISIONING_GB * images.length;
  const parts = [
    { what: images.length === 1 ? 'the image, unpacked' : `${images.length} images, unpacked`, gb: unpackedGb },
    { what: 'what provisioning adds', gb: provisioningGb },
    // At first the copy shares its blocks with the image. Once the image is replaced, only this copy holds
    // them.
    { what: 'the pulled copy', gb: keepPulled ? unpackedGb : 0 },
    { what: 'the previous image after a roll-out', gb: keepPrevious ? unpackedGb + provisioningGb : 0 },
    { what: slots === 1 ? '1 clone that grows' : `${slots} clones that grow`, gb: slots * growthGb },
    { what: 'caches of builds', gb: CACHES_GB },
    { what: 'left free for macOS', gb: LEFT_FREE_GB },
  ].filter(({ gb }) => gb > 0);
  const totalGb = parts.reduce((total, { gb }) => total + gb, 0);
  const presentGb = sum(presentOf);
  const downloadOf = ({ size, present }: PlannedImage) => (present === 'nothing' ? size.downloadGb : 0);
  const downloadGb = sum(downloadOf);
  const downloadNowGb = sum((image) => (image.isLater ? 0 : downloadOf(image)));
  return {
    ...rung,
    images: images.length,
    downloadGb,
    downloadNowGb,
    parts,
    totalGb,
    presentGb,
    needGb: totalGb - presentGb,
  };
}

function presentOf({ size, present }: PlannedImage): number {
  if (present === 'nothing') return 0;
  return present === 'unpacked' ? size.unpackedGb : size.unpackedGb + PROVISIONING_GB;
}

/**
 * How much must be free before an image of this size is fetched beside the present one and the one before.
 * `clonesGb` is the result of `roomForClone`, so that the Mac still claims builds during and after the
 * download.
 */
export const roomForFetch = ({ unpackedGb, clonesGb }: { unpackedGb: number; clonesGb: number }): number =>
  unpackedGb + KEY_GB + clonesGb + LEFT_FREE_GB;

/** How much must be free before an image is made beside the one that it replaces and that is not kept. */
export const roomForRollOut = ({ unpackedGb }: ImageSize, growthGb: number): number =>
  unpackedGb + PROVISIONING_GB + growthGb + LEFT_FREE_GB;

/** How much must be free before another clone starts: its growth, and the growth left to the other clones. */
export const roomForClone = (growthGb: number, grownGb: readonly number[]): number =>
  grownGb.reduce((gb, grown) => gb + Math.max(0, growthGb - grown), growthGb);

/** How many VMs of this size run at once on a Mac with this memory. */
export const vmsFor = (memoryGb: number, vmMemoryGb: number): number =>
  Math.max(0, Math.min(VMS_PER_MAC_MAX, Math.floor((memoryGb - MAC_MEMORY_GB) / vmMemoryGb)));

const gb = (amount: number) => `${Math.ceil(amount)} GB`;

/** The needs of the plan, a line each, and the things that it gives up. */
export function planInWords({ fits, plan }: PlanResult, freeGb: number, slotsAsked = plan.slots): string[] {
  const rows = [
    ...plan.parts.map((part) => [gb(part.gb), part.what]),
    ...(plan.presentGb > 0 ? [[`-${gb(plan.presentGb)}`, 'already on the disk']] : []),
    [gb(plan.needGb), `needed, and ${Math.floor(freeGb)} GB are free`],
  ];
  return [
    ...downloadInWords(plan),
    plan.images === 1 ? 'On the disk:' : 'On the disk, with all images of the config:',
    ...rows.map(([amount, what]) => `  ${amount!.padStart(8)}  ${what}`),
    fits ? `Plan: ${givenUpInWords(plan, slotsAsked)}` : refusal(plan, freeGb),
  ];
}

function downloadInWords({ images, downloadGb, downloadNowGb }: DiskPlan): string[] {
  if (downloadGb === 0) return [];
  const now = downloadNowGb > 0 ? gb(downloadNowGb) : 'nothing';
  if (images === 1) return [`Download: ${now}. Tart unpacks it as it comes.`];
  return [`Download now: ${now} (${gb(downloadGb)} until all ${images} images of the config are there).`];
}

function givenUpInWords({ keepPulled, keepPrevious, slots }: Rung, slotsAsked: number): string {
  const given = [
    ...(keepPrevious ? [] : ['no previous image is kept, so the way back is to fetch it again by its digest']),
    ...(keepPulled ? [] : ['the pulled copy is deleted after the clone']),
    ...(slots < slotsAsked ? [`this Mac runs ${slots} build at a time instead of ${slotsAsked}`] : []),
  ];
  return given.length === 0 ? 'everything is kept.' : `${given.join('; ')}.`;
}

const refusal = ({ needGb }: DiskPlan, freeGb: number): string =>
  `This does not fit: even with one build at a time and nothing kept it needs ${gb(needGb)}, and ${Math.floor(freeGb)} GB are free. ` +
  `Free ${gb(needGb - freeGb)}, or let Tart keep its VMs on an external APFS disk (tartHome in the config).`;
