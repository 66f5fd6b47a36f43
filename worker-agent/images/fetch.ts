/**
 * Fetches the images that the pools of this worker name, one at a time and beside builds: pulls, provisions
 * with the key of this Mac, and hands the result to the roll-out.
 *
 * Invariant: a download takes no slot, and the rest takes one, as a build does. The agent fetches only when
 * the controller gives it the turn, only from registries that the config names, and only if the disk has
 * room. An image that no pool names any more is not rolled out, and all of it is deleted.
 */
import { isDeepStrictEqual } from 'node:util';
import { IMAGE_MESSAGE_MAX, type ImageFetch, type WantedImage } from '#contract';
import { pause } from '../../client/retry.ts';
import { type AgentConfig, snapshotName } from '../config.ts';
import type { Emit } from '../events.ts';
import { GB_BYTES } from '../health-checks/figures.ts';
import type { DiskRoom } from '../mac/disk-room.ts';
import type { Tart } from '../tart/tart.ts';
import { roomForFetch } from './disk-plan.ts';
import { listVms, makingName, removeFormer, removeRest } from './fetch-leftovers.ts';
import type { Images, ImageView, NewGeneration } from './images.ts';
import type { Generation } from './images-file.ts';
import { type MadeWith, readMadeWith, wordsOf, writeMadeWith } from './made-with.ts';
import { MAKE_BUSY_EXIT, type MakeOptions, makeImage } from './make-image.ts';
import { makeRoom } from './make-room.ts';
import { readKeptByPlan } from './plan-file.ts';
import { removeWorkshop } from './workshop.ts';

/** A failed reference is retried after this time. */
const RETRY_MS = 3_600_000;
/** A fetch that fails in a slot delays builds, so its pause doubles, up to this time. */
const RETRY_MAX_MS = 24 * 3_600_000;
/** Waits for a script that outlived its agent and ends by itself. */
const BUSY_MS = 60_000;
/** The wait for a slot is limited, because the whole fleet waits while a Mac has its turn. */
const SLOT_PATIENCE_MS = 3_600_000;
const SLOT_RETRY_MS = 5 * 60_000;
/** Looks this often, because the pause of a failed reference may be over. */
const LOOK_MS = 60_000;

/** Keeps a slot from builds. */
export interface HeldSlot {
  /** The VM of the slot no longer exists or runs; the slot is kept all the same. */
  vmGone(): void;
  release(): void;
}

export interface FetchingOptions {
  config: AgentConfig;
  stateDir: string;
  images: Images;
  tart: Pick<Tart, 'home' | 'list' | 'clone' | 'remove' | 'diskBytes' | 'pull' | 'digestName' | 'removePulled'>;
  emit: Emit;
  roomOf(folder: string): Promise<DiskRoom>;
  /** The growth left to the clones that run, and the growth of another clone. */
  clonesBytes(): Promise<number>;
  /** Waits until a slot is free for this VM. Builds that are claimed later wait behind it. */
  holdSlot(vm: string, signal: AbortSignal): Promise<HeldSlot>;
  /** The time limit for `holdSlot`. */
  slotPatienceMs?: number;
}

type State = Omit<ImageFetch, 'name' | 'reference' | 'percent' | 'message'> & { percent?: number; message?: string };

/** The message says why an image was not fetched. */
class NotFetched extends Error {
  /** Set if the reason passes by itself. Then the parts of the image on the disk stay there. */
  readonly retryMs: number | null;
  constructor(message: string, { retryMs = null }: { retryMs?: number | null } = {}) {
    super(message);
    this.retryMs = retryMs;
  }
}

interface Failure {
  message: string;
  retryMs: number | null;
  isPulled: boolean;
}

interface Task {
  image: ImageView;
  reference: string;
  snapshot: string;
  /** {@link makingName} */
  vm: string;
  tell(state: State): void;
  /** The agent stops. */
  leave: AbortSignal;
  /** The agent stops, or no pool names the image any more. */
  signal: AbortSignal;
}

export class Fetching {
  readonly #options: FetchingOptions;
  #wanted: readonly WantedImage[] = [];
  /** Whether unwanted images have been deleted since the controller last changed its list. */
  #isSwept = true;
  #hasHeard = false;
  /** The state of the fetch that runs. `unwanted` ends it. */
  #running: { key: string; state: State; unwanted: AbortController } | null = null;
  readonly #failed = new Map<string, { message: string; untilMs: number; slotPauseMs: number }>();
  #changed = new AbortController();

  constructor(options: FetchingOptions) {
    this.#options = options;
  }

  /** Takes the latest list of the controller. */
  want(images: readonly WantedImage[]): void {
    const before = JSON.stringify(this.#wanted);
    this.#wanted = images;
    if (this.#hasHeard && JSON.stringify(images) === before) return;
    this.#hasHeard = true;
    this.#isSwept = false;
    const keys = images.map(({ name, reference }) => keyOf(name, reference));
    for (const key of this.#failed.keys()) if (!keys.includes(key)) this.#failed.delete(key);
    if (this.#running && !keys.includes(this.#running.key)) this.#running.unwanted.abort();
    this.#change();
  }

  /** Aborts at the next change that the agent should report to the controller at once. */
  get changed(): AbortSignal {
    return this.#changed.signal;
  }

  /** For the status. An agent that sends this list, even an empty one, says that it can fetch. */
  get fetches(): ImageFetch[] {
    return this.#wanted.map(({ name, reference }) => {
      const { percent = null, message = '', state } = this.#stateOf(name, reference);
      return { name, reference, state, percent, message: message.slice(0, IMAGE_MESSAGE_MAX) };
    });
  }

  /** Resolves when `signal` has fired and no part of a fetch runs. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { changed } = this;
      const hasBrought = await this.#bringNext(signal).catch((error: Error) => {
        this.#warn(`the agent could not look for an image to fetch: ${error.message}. It tries again`);
        return false;
      });
      if (!hasBrought) await pause(LOOK_MS, AbortSignal.any([signal, changed])).catch(() => {});
    }
  }

  /** False if there is nothing to fetch. Rejects if the file with the images cannot be read. */
  async #bringNext(signal: AbortSignal): Promise<boolean> {
    if (!this.#isSwept) await this.#sweep(signal);
    const next = this.#wanted.find(
      ({ name, reference, mayFetch }) => mayFetch && this.#stateOf(name, reference).state === 'waiting',
    );
    if (next) await this.#bring(next, signal);
    return next !== undefined;
  }

  #stateOf(name: string, reference: string): State {
    const key = keyOf(name, reference);
    if (this.#running?.key === key) return this.#running.state;
    const { images, config } = this.#options;
    const image = images.list().find((one) => one.name === name);
    if (!image) return { state: 'failed', message: `the config of this Mac has no image ${name}` };
    if (isOf(image.current, reference)) return { state: 'done' };
    if (image.switchedBack?.reference?.slice(-64) === reference.slice(-64))
      return { state: 'failed', message: `this Mac has switched it back: ${image.switchedBack.why}` };
    if (!config.registries.some((registry) => reference.startsWith(registry)))
      return {
        state: 'failed',
        message: `"registries" in the config of this Mac does not name ${reference.slice(0, reference.lastIndexOf('/') + 1)}. Add it there if this Mac may fetch from it, and restart the agent`,
      };
    const failed = this.#failed.get(key);
    return failed && performance.now() < failed.untilMs
      ? { state: 'failed', message: failed.message }
      : { state: 'waiting' };
  }

  async #bring({ name, reference }: WantedImage, leave: AbortSignal): Promise<void> {
    const { images, emit } = this.#options;
    const key = keyOf(name, reference);
    const image = images.list().find((one) => one.name === name)!;
    const unwanted = new AbortController();
    const tell = (state: State) => {
      const isNews = this.#running?.state.state !== state.state;
      this.#running = { key, state, unwanted };
      if (!isNews) return;
      emit({ type: 'image_fetch', image: name, reference, state: state.state, message: state.message ?? '' });
      this.#change();
    };
    const snapshot = snapshotName(image, reference);
    const signal = AbortSignal.any([leave, unwanted.signal]);
    const task: Task = { image, reference, snapshot, vm: makingName(snapshot), tell, leave, signal };
    let isPulled = false;
    try {
      tell({ state: 'fetching', percent: 0 });
      const former = await this.#formerSnapshot(task);
      if (!former) await this.#pull(task);
      isPulled = true;
      await this.#inSlot(task, former);
      emit({ type: 'image_fetch', image: name, reference, state: 'done', message: passwordsOf(this.#options.config) });
    } catch (error) {
      if (leave.aborted) return;
      const isUnwanted = unwanted.signal.aborted;
      const message = isUnwanted ? 'no pool names it any more' : (error as Error).message;
      const retryMs = error instanceof NotFetched ? error.retryMs : null;
      if (!isUnwanted) this.#noteFailure(key, { message, retryMs, isPulled });
      emit({ type: 'image_fetch', image: name, reference, state: 'failed', message });
      if (retryMs === null || isUnwanted) await this.#clearIfShort(task);
    } finally {
      this.#running = null;
      this.#change();
    }
  }

  #noteFailure(key: string, { message, retryMs, isPulled }: Failure): void {
    const before = this.#failed.get(key)?.slotPauseMs ?? RETRY_MS / 2;
    const slotPauseMs = isPulled && retryMs === null ? Math.min(before * 2, RETRY_MAX_MS) : before;
    const pauseMs = retryMs ?? (isPulled ? slotPauseMs : RETRY_MS);
    this.#failed.set(key, { message, untilMs: performance.now() + pauseMs, slotPauseMs });
  }

  /**
   * A snapshot of this image that is on this Mac already, though builds are not cloned from it. The agent
   * makes a candidate anew if it has seen it fail, or if its options differ from those of the present image.
   */
  async #formerSnapshot({ image, reference, signal }: Task): Promise<Generation | null> {
    const { previous, candidate } = image;
    const { stateDir, tart } = this.#options;
    const hasFailed = this.#failed.has(keyOf(image.name, reference));
    const former = [previous, hasFailed ? null : candidate].find(
      (generation) =>
        generation &&
        isOf(generation, reference) &&
        isDeepStrictEqual(readMadeWith(stateDir, generation.vm), this.#presentOptions(image)),
    );
    if (!former) return null;
    const { local } = await listVms(tart, signal);
    return local.includes(former.vm) ? { ...former, reference } : null;
  }

  async #pull({ image, reference, vm, snapshot, tell, signal }: Task): Promise<void> {
    const { tart, images, roomOf, clonesBytes, emit } = this.#options;
    for (const generation of [image.current, image.previous])
      if (generation?.vm === snapshot)
        throw new NotFetched(
          isOf(generation, reference)
            ? `${snapshot}, the previous snapshot, is made of it with other options than the present one has. It can be fetched once that snapshot is deleted`
            : `${snapshot} is a VM of this image already, and it is not known to be made of ${reference}`,
        );
    const there = await listVms(tart, signal);
    const isThere = there.local.includes(vm) || there.pulled.includes(reference);
    // The size of an image is unknown before it is there, so we assume the size of the present one.
    const unpackedGb = isThere ? 0 : ((await tart.diskBytes(image.current.vm)) ?? 0) / GB_BYTES;
    const needGb = roomForFetch({ unpackedGb, clonesGb: (await clonesBytes()) / GB_BYTES });
    const wanted = this.#wanted.map((one) => one.reference);
    const room = { tart, images: images.list(), keep: wanted, neededBytes: needGb * GB_BYTES, roomOf, signal };
    for (const name of await makeRoom(room))
      emit({ type: 'warning', message: `${name} was deleted, to make room for ${reference}` });
    const { freeBytes } = await roomOf(tart.home);
    if (freeBytes < needGb * GB_BYTES)
      throw new NotFetched(
        `${Math.ceil(needGb)} GB must be free to fetch it beside the present image, and ${Math.floor(freeBytes / GB_BYTES)} GB are`,
      );
    if (there.local.includes(vm)) return;
    const onPercent = (percent: number) => tell({ state: 'fetching', percent });
    const pulled = await tart.pull(reference, { onPercent, signal });
    if (!pulled.ok) throw new NotFetched(pulled.message);
    const named = await tart.digestName(reference, signal);
    if (named.ok && named.reference === reference) return;
    signal.throwIfAborted();
    await tart.removePulled(reference);
    throw new NotFetched(
      named.ok ? `the registry gave another image than was asked for: ${named.reference}` : named.message,
    );
  }

  async #inSlot(task: Task, former: Generation | null): Promise<void> {
    const { tart, images, stateDir } = this.#options;
    const { image, reference, snapshot, tell, leave, signal } = task;
    const slot = await this.#holdSlot(task);
    let isLeft = false;
    try {
      const generation = former ?? { ...(await this.#make(task)), reference };
      slot.vmGone();
      signal.throwIfAborted();
      tell({ state: 'checking' });
      const { keepPrevious } = readKeptByPlan(stateDir);
      const added = await images.addCandidate(image.name, generation, { signal, keepPrevious });
      if (added !== 'switched') throw new NotFetched(`doctor did not pass in a clone of it: ${added.failed}`);
      // This comes before deleting the VM of the fetch, because a sweep finds a remaining copy by that VM.
      if (!(await tart.removePulled(reference)).ok) [isLeft, this.#isSwept] = [true, false];
    } catch (error) {
      isLeft = leave.aborted || (error instanceof NotFetched && error.retryMs !== null);
      throw error;
    } finally {
      if (!isLeft)
        await removeRest(this.#options, snapshot).catch(() => {
          this.#isSwept = false;
        });
      slot.release();
    }
    await removeWorkshop(tart, image.vmName);
  }

  async #holdSlot({ vm, tell, signal }: Task): Promise<HeldSlot> {
    const { holdSlot, slotPatienceMs = SLOT_PATIENCE_MS } = this.#options;
    tell({ state: 'provisioning', message: 'waits for a free slot' });
    const over = AbortSignal.timeout(slotPatienceMs);
    try {
      const slot = await holdSlot(vm, AbortSignal.any([signal, over]));
      tell({ state: 'provisioning' });
      return slot;
    } catch (error) {
      signal.throwIfAborted();
      if (!over.aborted) throw error;
      throw new NotFetched('no slot became free in time. The next turn continues from here', {
        retryMs: SLOT_RETRY_MS,
      });
    }
  }

  /** The clone is made here, because the image itself says from which public image it comes. */
  async #make({ image, vm, snapshot, reference, signal }: Task): Promise<NewGeneration> {
    const { config, tart, stateDir, images } = this.#options;
    // Read now and again later, because a person may make a new image during the pull or the script.
    const madeWith = this.#presentOptions(image);
    const cloned = await tart.clone(reference, vm, signal);
    if (!cloned.ok && cloned.kind !== 'already_exists') throw new NotFetched(cloned.message);
    const last: string[] = [];
    const make: MakeOptions = {
      ...{ config, vm, signal },
      more: ['--snapshot', snapshot, '--force', ...wordsOf(madeWith)],
      authorities: madeWith.authorities,
      onLine: (line) => {
        if (line.startsWith('create-base-image.sh:')) last.length = 0;
        if (last.push(line) > 3) last.shift();
      },
    };
    const { exitCode, result } = await makeImage(make);
    signal.throwIfAborted();
    const words = last.join(' ').trim();
    if (exitCode === MAKE_BUSY_EXIT)
      throw new NotFetched(`a former agent of this Mac still makes it: ${words}`, { retryMs: BUSY_MS });
    if (!result) throw new NotFetched(`create-base-image.sh ended with ${exitCode}: ${words}`);
    if (!isDeepStrictEqual(this.#presentOptions(image), madeWith))
      throw new NotFetched('the present image has got other options meanwhile', { retryMs: BUSY_MS });
    writeMadeWith(stateDir, snapshot, madeWith, images.list());
    return { vm: snapshot, digest: result.digest, provisioned: result.provisioned };
  }

  /** The options of the image that builds are cloned from now. */
  #presentOptions({ name }: Pick<ImageView, 'name'>): MadeWith {
    const { images, stateDir } = this.#options;
    return readMadeWith(stateDir, images.list().find((image) => image.name === name)!.current.vm);
  }

  /** Deletes a copy that could not be used if its room is needed for builds. */
  async #clearIfShort({ reference, snapshot }: Task): Promise<void> {
    const { tart, roomOf, clonesBytes } = this.#options;
    try {
      const neededGb = roomForFetch({ unpackedGb: 0, clonesGb: (await clonesBytes()) / GB_BYTES });
      if ((await roomOf(tart.home)).freeBytes >= neededGb * GB_BYTES) return;
      if ((await listVms(tart)).pulled.includes(reference)) await tart.removePulled(reference);
      await removeRest(this.#options, snapshot);
    } catch (error) {
      this.#warn(`what is left of ${reference} was not removed: ${(error as Error).message}`);
    }
  }

  /**
   * A former agent may have been fetching an image that no pool names now, or have died right after a switch.
   */
  async #sweep(signal: AbortSignal): Promise<void> {
    const { images } = this.#options;
    const wanted = this.#wanted;
    try {
      const kept = images
        .list()
        .flatMap((image) =>
          wanted
            .filter(({ name, reference }) => name === image.name && this.#stateOf(name, reference).state !== 'done')
            .map(({ reference }) => snapshotName(image, reference)),
        );
      await removeFormer(this.#options, kept, signal);
      this.#isSwept = wanted === this.#wanted;
    } catch (error) {
      if (!signal.aborted) this.#warn(`what former fetches have left was not removed: ${(error as Error).message}`);
    }
  }

  #warn(message: string): void {
    this.#options.emit({ type: 'warning', message });
  }

  #change(): void {
    this.#changed.abort();
    this.#changed = new AbortController();
  }
}

const keyOf = (name: string, reference: string) => `${name} ${reference}`;

/** Only the digest identifies an image. The registry does not matter. */
const isOf = (generation: Generation, reference: string) => generation.reference?.slice(-64) === reference.slice(-64);

/** Without this hint nobody would know how to enter the fetched image. */
const passwordsOf = ({ vmUser }: AgentConfig) =>
  `SSH in it takes the password of ${vmUser}, as in each image that was published`;
