/**
 * Fetches the images that the pools of this worker name, one at a time and beside builds: pulls, provisions
 * with the key of this Mac, and hands the result to the roll-out.
 *
 * Invariant: a download takes no slot, and the rest takes one, as a build does. Nothing is fetched without
 * the turn that the controller gives, from a registry that the config does not name, or onto a disk without
 * room for it.
 */
import type { ImageFetch, WantedImage } from '#contract';
import { IMAGE_MESSAGE_MAX } from '#contract';
import { pause } from '../../client/retry.ts';
import type { AgentConfig } from '../config.ts';
import type { Emit } from '../events.ts';
import type { DiskRoom } from '../mac/disk-room.ts';
import type { Tart } from '../tart/tart.ts';
import { roomForFetch } from './disk-plan.ts';
import type { Images, ImageView } from './images.ts';
import { type MakeOptions, makeImage } from './make-image.ts';
import { readKeptByPlan } from './plan-file.ts';
import { makeRoom } from './pulled-images.ts';
import { removeWorkshop } from './workshop.ts';

/** A reference that has failed is tried again after this time. */
const RETRY_MS = 3_600_000;
/** A script that outlived its agent ends by itself. */
const BUSY_MS = 60_000;
/** The time of a failed one may be over. */
const LOOK_MS = 60_000;
const GB_BYTES = 1e9;

/** Keeps a slot from builds. */
export interface HeldSlot {
  /** The VM of the slot stands or runs no more; the slot is kept all the same. */
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
  /** What the clones that run may still grow by. */
  growthBytes(): Promise<number>;
  /** Waits until a slot is free for this VM. Builds that are claimed later wait behind it. */
  holdSlot(vm: string, signal: AbortSignal): Promise<HeldSlot>;
}

type State = Omit<ImageFetch, 'name' | 'reference' | 'percent' | 'message'> & { percent?: number; message?: string };

/** Its message says why an image was not fetched. */
class NotFetched extends Error {
  readonly retryMs: number;
  constructor(message: string, { retryMs = RETRY_MS } = {}) {
    super(message);
    this.retryMs = retryMs;
  }
}

export class Fetching {
  readonly #options: FetchingOptions;
  #wanted: readonly WantedImage[] = [];
  /** How far the fetch is that runs. */
  #running: { key: string; state: State } | null = null;
  readonly #failed = new Map<string, { message: string; untilMs: number }>();
  #changed = new AbortController();

  constructor(options: FetchingOptions) {
    this.#options = options;
  }

  /** What the controller has said last. */
  want(images: readonly WantedImage[]): void {
    const before = JSON.stringify(this.#wanted);
    this.#wanted = images;
    if (JSON.stringify(images) !== before) this.#change();
  }

  /** Aborts at the next change that the controller should hear of at once. */
  get changed(): AbortSignal {
    return this.#changed.signal;
  }

  /** For the status. An agent that sends it, also an empty one, says that it can fetch. */
  get fetches(): ImageFetch[] {
    return this.#wanted.map(({ name, reference }) => {
      const { percent = null, message = '', state } = this.#stateOf(name, reference);
      return { name, reference, state, percent, message: message.slice(0, IMAGE_MESSAGE_MAX) };
    });
  }

  /** Resolves when `signal` has fired and nothing of a fetch runs. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { changed } = this;
      const next = this.#wanted.find(
        ({ name, reference, mayFetch }) => mayFetch && this.#stateOf(name, reference).state === 'waiting',
      );
      if (next) await this.#bring(next, signal);
      else await pause(LOOK_MS, AbortSignal.any([signal, changed])).catch(() => {});
    }
  }

  #stateOf(name: string, reference: string): State {
    const key = keyOf(name, reference);
    if (this.#running?.key === key) return this.#running.state;
    const { images, config } = this.#options;
    const image = images.list().find((one) => one.name === name);
    if (!image) return { state: 'failed', message: `the config of this Mac has no image ${name}` };
    if (image.current.reference === reference) return { state: 'done' };
    if (image.switchedBack?.reference === reference)
      return { state: 'failed', message: `this Mac has switched it back: ${image.switchedBack.why}` };
    if (!config.registries.some((registry) => reference.startsWith(registry)))
      return {
        state: 'failed',
        message: `"registries" in the config of this Mac does not name ${reference.slice(0, reference.lastIndexOf('/') + 1)}`,
      };
    const failed = this.#failed.get(key);
    return failed && performance.now() < failed.untilMs
      ? { state: 'failed', message: failed.message }
      : { state: 'waiting' };
  }

  async #bring({ name, reference }: WantedImage, signal: AbortSignal): Promise<void> {
    const { images, emit } = this.#options;
    const key = keyOf(name, reference);
    const image = images.list().find((one) => one.name === name)!;
    const tell = (state: State) => {
      const isNews = this.#running?.state.state !== state.state;
      this.#running = { key, state };
      if (!isNews) return;
      emit({ type: 'image_fetch', image: name, reference, state: state.state, message: state.message ?? '' });
      this.#change();
    };
    try {
      tell({ state: 'fetching', percent: 0 });
      await this.#pull(image, reference, (percent) => tell({ state: 'fetching', percent }), signal);
      await this.#provision(image, reference, tell, signal);
      emit({ type: 'image_fetch', image: name, reference, state: 'done', message: '' });
    } catch (error) {
      if (signal.aborted) return;
      const { message } = error as Error;
      const { retryMs } = error instanceof NotFetched ? error : { retryMs: RETRY_MS };
      this.#failed.set(key, { message, untilMs: performance.now() + retryMs });
      emit({ type: 'image_fetch', image: name, reference, state: 'failed', message });
    } finally {
      this.#running = null;
      this.#change();
    }
  }

  async #pull(
    image: ImageView,
    reference: string,
    onPercent: (percent: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { tart, images, roomOf, growthBytes, emit } = this.#options;
    // Nobody says how large an image is before it is there. It is taken to be as large as the present one.
    const unpackedGb = ((await tart.diskBytes(image.current.vm)) ?? 0) / GB_BYTES;
    const needGb = roomForFetch({ unpackedGb, growthGb: (await growthBytes()) / GB_BYTES });
    const wanted = this.#wanted.map((one) => one.reference);
    const room = { tart, images: images.list(), keep: wanted, neededBytes: needGb * GB_BYTES, roomOf, signal };
    for (const name of await makeRoom(room))
      emit({ type: 'warning', message: `${name} was deleted, to make room for ${reference}` });
    const { freeBytes } = await roomOf(tart.home);
    if (freeBytes < needGb * GB_BYTES)
      throw new NotFetched(
        `${Math.ceil(needGb)} GB must be free to fetch it beside the present image, and ${Math.floor(freeBytes / GB_BYTES)} GB are`,
      );
    const pulled = await tart.pull(reference, { onPercent, signal });
    if (!pulled.ok) throw new NotFetched(pulled.message);
    const named = await tart.digestName(reference, signal);
    if (named.ok && named.reference === reference) return;
    await tart.removePulled(reference);
    throw new NotFetched(
      named.ok ? `the registry gave another image than was asked for: ${named.reference}` : named.message,
    );
  }

  async #provision(
    image: ImageView,
    reference: string,
    tell: (state: State) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { tart, images, stateDir, holdSlot } = this.#options;
    const snapshot = `${image.vmName}-base-${reference.slice(-64, -52)}`;
    const vm = `${snapshot}-making`;
    tell({ state: 'provisioning', message: 'waits for a free slot' });
    const slot = await holdSlot(vm, signal);
    try {
      tell({ state: 'provisioning' });
      const generation = await this.#make({ vm, snapshot, reference }, signal);
      slot.vmGone();
      tell({ state: 'checking' });
      const { keepPrevious } = readKeptByPlan(stateDir);
      const added = await images.addCandidate(image.name, { ...generation, reference }, { signal, keepPrevious });
      if (added !== 'switched') throw new NotFetched(`doctor did not pass in a clone of it: ${added.failed}`);
    } finally {
      // A fetch that was stopped goes on from this VM after a restart of the agent.
      if (!signal.aborted) await tart.remove(vm);
      slot.release();
    }
    await tart.removePulled(reference);
    await removeWorkshop(tart, image.vmName);
  }

  /** The clone is made here, because the image itself says from which public image it comes. */
  async #make({ vm, snapshot, reference }: { vm: string; snapshot: string; reference: string }, signal: AbortSignal) {
    const { config, tart } = this.#options;
    const cloned = await tart.clone(reference, vm, signal);
    if (!cloned.ok && cloned.kind !== 'already_exists') throw new NotFetched(cloned.message);
    const last: string[] = [];
    const make: MakeOptions = {
      ...{ config, vm, signal },
      more: ['--snapshot', snapshot, '--force'],
      onLine: (line) => {
        if (line.startsWith('create-base-image.sh:')) last.length = 0;
        if (last.push(line) > 3) last.shift();
      },
    };
    const { exitCode, result } = await makeImage(make);
    signal.throwIfAborted();
    const words = last.join(' ').trim();
    if (words.includes('is already making'))
      throw new NotFetched(`a former agent of this Mac still makes it: ${words}`, { retryMs: BUSY_MS });
    if (!result) throw new NotFetched(`create-base-image.sh ended with ${exitCode}: ${words}`);
    return { vm: snapshot, digest: result.digest, provisioned: result.provisioned };
  }

  #change(): void {
    this.#changed.abort();
    this.#changed = new AbortController();
  }
}

const keyOf = (name: string, reference: string) => `${name} ${reference}`;
