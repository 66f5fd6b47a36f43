/**
 * Knows the images of this Mac: which VM a build is cloned from, which images are offered, and how they fare.
 *
 * Invariant: a new generation is current only after doctor has passed in a clone of it. The agent deletes
 * only VMs that were generations before, and never one that an attempt may still clone.
 */
import { dirname, join } from 'node:path';
import type { Assignment, ImageIdentity, ImageOffer } from '#contract';
import { pause } from '../../client/retry.ts';
import { type AgentConfig, baseImageName, type ImageConfig } from '../config.ts';
import type { Emit, ImageChange } from '../events.ts';
import { runDoctor } from '../health-checks/check-up.ts';
import type { ExaminedImage } from '../health-checks/host-context.ts';
import { blockingFailure, type CheckResult } from '../health-checks/run-checks.ts';
import type { ImageOfAttempt } from '../state/journal.ts';
import { createTart, type Tart } from '../tart/tart.ts';
import { type Generation, type ImageState, type ImageStates, ImagesFile } from './images-file.ts';
import {
  back,
  firstState,
  generationsOf,
  leftBehind,
  promote,
  switchToCandidate,
  type ToldOfAttempt,
  withCandidate,
  withOutcome,
} from './roll-out.ts';

/** While both VM slots are in use, a candidate waits for one. */
const SLOT_PAUSE_MS = 15_000;
const SLOT_PATIENCE_MS = 30 * 60_000;

export interface ImagesOptions {
  configPath: string;
  config: AgentConfig;
  tart: Pick<Tart, 'list' | 'remove'>;
  emit: Emit;
}

/** One image as people and other parts of the agent see it. */
export interface ImageView extends ImageState, ImageConfig {}

export interface AddOptions {
  signal: AbortSignal;
  onResult?: ((result: CheckResult) => void) | undefined;
  /** False if the disk has no room for it; then the image cannot be switched back. Default true. */
  keepPrevious?: boolean;
}

export type NewGeneration = Pick<Generation, 'vm' | 'digest' | 'provisioned'> & Partial<Generation>;

export type ImageWish = Pick<Assignment, 'image' | 'imageIdentity' | 'platform'>;

export class Images {
  readonly #options: ImagesOptions;
  readonly #file: ImagesFile;
  /** VMs of current generations that `tart list` did not show when it was last asked. */
  #missing: ReadonlySet<string> = new Set();
  /** The last message about a VM that cannot be deleted. */
  #stuck = '';
  #changed = new AbortController();

  constructor(options: ImagesOptions) {
    this.#options = options;
    const onDamaged = (message: string) => options.emit({ type: 'warning', message });
    this.#file = new ImagesFile(join(dirname(options.configPath), 'state'), onDamaged);
  }

  static open(options: ImagesOptions): Images {
    const images = new Images(options);
    images.#file.setAsideIfDamaged();
    return images;
  }

  /** Every image of the config, in its order. */
  list(): ImageView[] {
    const states = this.#file.read();
    return this.#options.config.images.map((image) => ({ ...image, ...this.#stateOf(states, image) }));
  }

  /** Aborts when this process has changed the offers. */
  get changed(): AbortSignal {
    return this.#changed.signal;
  }

  /** The images that builds may ask for. Leaves out an image whose VM is missing, unless all are missing. */
  offers(): ImageOffer[] {
    const all = this.list().flatMap(({ name, platforms, current: { vm, digest, provisioned } }) =>
      platforms.map((platform) => ({ vm, offer: { name, platform, digest, provisioned } })),
    );
    const offers = all.map(({ vm, offer }, index) => ({
      vm,
      offer: { ...offer, isDefault: all.findIndex((other) => other.offer.platform === offer.platform) === index },
    }));
    const there = offers.filter(({ vm }) => !this.#missing.has(vm));
    return (there.length > 0 ? there : offers).map(({ offer }) => offer);
  }

  /**
   * The generation that a build is cloned from. Null if this Mac has no such image for the platform. The
   * image may have been switched since it was offered: the attempt gets the generation that its record names.
   */
  generationFor({ image: name, imageIdentity, platform }: ImageWish): ImageOfAttempt | null {
    const fits = this.list().filter(({ platforms }) => platforms.includes(platform));
    const image = name === undefined ? fits[0] : fits.find((one) => one.name === name);
    const generation = [image?.current, image?.previous].find(
      (one) => one && (imageIdentity === undefined || isAlike(one, imageIdentity)),
    );
    if (!image || !generation) return null;
    const { vm, digest, provisioned, hostKey } = generation;
    return { name: image.name, vm, digest, provisioned, hostKey };
  }

  /** The targets of doctor: the current generation of each image, or of one. */
  examined(name?: string): ExaminedImage[] {
    return this.list()
      .filter((image) => name === undefined || image.name === name)
      .map((image) => this.#examined(image, image.current));
  }

  /** Notes which VMs exist. Returns the obstacle to every build, or null. */
  see(vms: ReadonlySet<string>): string | null {
    const before = this.#missing;
    const images = this.list();
    const missing = images.filter(({ current }) => !vms.has(current.vm));
    this.#missing = new Set(missing.map(({ current }) => current.vm));
    for (const { name, current } of missing)
      if (!before.has(current.vm) && missing.length < images.length)
        this.#options.emit({
          type: 'warning',
          message: `${missingWords(name, current.vm)}: it is not offered to builds`,
        });
    if (before.symmetricDifference(this.#missing).size > 0) this.#change();
    const [first] = missing;
    return first && missing.length === images.length ? missingWords(first.name, first.current.vm) : null;
  }

  /** Notes the contents of the VM that the current generation is cloned from, after it was made in place. */
  record(name: string, generation: NewGeneration): void {
    this.#changeImage(name, (state) => ({ ...state, current: complete(generation) }));
  }

  /**
   * Examines a new generation in a clone of it, and makes it the current one if it passes. Otherwise it stays
   * the candidate of its image. Waits while both VM slots of this Mac are in use.
   */
  async addCandidate(
    name: string,
    generation: NewGeneration,
    { signal, onResult, keepPrevious = true }: AddOptions,
  ): Promise<'switched' | { failed: string }> {
    const candidate = complete(generation);
    const { current } = this.#image(name);
    if (current.vm === candidate.vm) {
      this.record(name, { ...candidate, hostKey: candidate.hostKey ?? current.hostKey });
      return 'switched';
    }
    this.#changeImage(name, (state) => withCandidate(state, candidate));
    const failed = await this.#examineCandidate(name, candidate, { signal, onResult });
    if (failed !== null) return { failed };
    const listed = await this.#options.tart.list(signal);
    if (!listed.ok) return { failed: listed.message };
    const vms = new Set(listed.vms.map(({ name }) => name));
    const { current: now } = this.#changeImage(name, (state) =>
      state.candidate?.vm === candidate.vm
        ? switchToCandidate(state, { keepPrevious: keepPrevious && vms.has(state.current.vm) })
        : state,
    );
    if (now.vm !== candidate.vm) return { failed: 'another candidate was made meanwhile' };
    this.#tell(name, 'switched', candidate.vm, 'doctor has passed in a clone of it');
    return 'switched';
  }

  /** Returns true if the image was switched back. */
  noteOutcome(name: string, told: ToldOfAttempt): boolean {
    const before = this.#image(name);
    if (before.current.vm !== told.vm) return false;
    const after = this.#changeImage(name, (state) => withOutcome(state, told));
    if (after.current.vm === before.current.vm) {
      if (before.previous && !after.previous)
        this.#tell(
          name,
          'proven',
          after.current.vm,
          `ten builds have begun in it; ${before.previous.vm} is no longer needed`,
        );
      return false;
    }
    this.#tell(
      name,
      'switched_back',
      after.current.vm,
      `${before.current.vm} is not used any more: ${after.switchedBack?.why}`,
    );
    return true;
  }

  /** Goes back to the previous generation because a person decided it. Null if there is none. */
  back(name: string): ImageState | null {
    const reason = { at: new Date().toISOString(), why: 'a person has decided so' };
    return this.#decide(name, (state) => back(state, reason), 'back');
  }

  /** Makes the candidate the current generation because a person decided it. Null if there is none. */
  promote(name: string): ImageState | null {
    return this.#decide(name, promote, 'promoted');
  }

  /** Deletes VMs that no image needs any more, except those that an attempt of this agent may still clone. */
  async removeUnwanted(inUse: readonly string[], signal: AbortSignal): Promise<void> {
    const read = () => Object.entries(this.#file.read());
    for (const [name, { unwanted }] of read())
      for (const vm of unwanted) {
        if (inUse.includes(vm)) continue;
        // Deleting the last VM took time, and a person may have decided anew meanwhile.
        const now = read();
        if (!now.some(([other, state]) => other === name && state.unwanted.includes(vm))) continue;
        const isNeeded = now.some(([, state]) => generationsOf(state).some((generation) => generation.vm === vm));
        const removed = isNeeded ? { ok: true as const } : await this.#options.tart.remove(vm, { signal });
        signal.throwIfAborted();
        if (removed.ok) this.#forget(name, vm);
        else if (this.#stuck !== vm) {
          this.#stuck = vm;
          const message = `${vm}, a former VM of the image ${name}, could not be deleted: ${removed.message}. The agent tries again`;
          this.#options.emit({ type: 'warning', message });
        }
      }
  }

  async #examineCandidate(
    name: string,
    candidate: Generation,
    { signal, onResult }: AddOptions,
  ): Promise<string | null> {
    const { configPath } = this.#options;
    const image = this.#examined({ ...this.#image(name) }, candidate);
    for (const untilMs = performance.now() + SLOT_PATIENCE_MS; ; ) {
      const { checks } = await runDoctor({
        ...{ configPath, vm: true, imagesOf: () => [image], pinHostKey: candidate.hostKey === null, signal },
        ...(onResult && { onResult }),
      });
      const failure = blockingFailure(checks);
      if (failure) return `${failure.id}: ${failure.detail}`;
      const found = (check: string) => checks.find(({ id }) => id.split('@')[0] === check);
      const start = found('vm_start');
      if (start?.status === 'pass') {
        const answersExec = found('second_way')?.status === 'pass';
        this.#changeImage(name, (state) => withNote(state, candidate.vm, { answersExec }));
        return null;
      }
      if (performance.now() > untilMs) return `vm_start: ${start?.detail}`;
      await pause(SLOT_PAUSE_MS, signal);
    }
  }

  #examined(image: ImageConfig, generation: Generation): ExaminedImage {
    const { name } = image;
    const { vm } = generation;
    const pin = async (hostKey: string) => {
      this.#changeImage(name, (state) => withNote(state, vm, { hostKey }));
    };
    return { name, vm, hostKey: generation.hostKey ?? undefined, pin };
  }

  /** While the first image has no entry, its host key is `vmHostKey` of the config. */
  #stateOf(states: ImageStates, image: ImageConfig): ImageState {
    const { images, vmHostKey = null } = this.#options.config;
    return states[image.name] ?? firstState(baseImageName(image), image.name === images[0].name ? vmHostKey : null);
  }

  #decide(name: string, decide: (state: ImageState) => ImageState | null, change: ImageChange): ImageState | null {
    let decided: ImageState | null = null;
    this.#changeImage(name, (state) => {
      decided = decide(state);
      return decided ?? state;
    });
    const after = decided as ImageState | null;
    if (after) this.#tell(name, change, after.current.vm, 'as a person has decided');
    return after;
  }

  #forget(name: string, vm: string): void {
    this.#file.change((states) => {
      const state = states[name];
      if (!state) return states;
      return { ...states, [name]: { ...state, unwanted: state.unwanted.filter((other) => other !== vm) } };
    });
  }

  #image(name: string): ImageView {
    const image = this.list().find((one) => one.name === name);
    if (!image) throw new Error(`the config of this Mac has no image ${name}`);
    return image;
  }

  #changeImage(name: string, decide: (state: ImageState) => ImageState): ImageState {
    const image = this.#image(name);
    let left: string[] = [];
    const states = this.#file.change((before) => {
      const state = this.#stateOf(before, image);
      const decided = decide(state);
      left = leftBehind(state, decided);
      return decided === state ? before : { ...before, [name]: decided };
    });
    for (const vm of left)
      this.#options.emit({
        type: 'warning',
        message: `${vm} is no longer used, and stays, because it was made by hand or by an older agent. Delete it with \`tart delete ${vm}\``,
      });
    return this.#stateOf(states, image);
  }

  #tell(image: string, change: ImageChange, vm: string, message: string): void {
    this.#options.emit({ type: 'image', image, change, vm, message });
    this.#change();
  }

  #change(): void {
    this.#changed.abort();
    this.#changed = new AbortController();
  }
}

/** The targets of doctor where no agent runs: every image of the config, or one. */
export const examinedIn =
  (configPath: string, name?: string) =>
  (config: AgentConfig): ExaminedImage[] =>
    Images.open({ configPath, config, tart: createTart(config), emit: () => {} }).examined(name);

/** The offers of this Mac, as in a claim and a status. Older controllers know only the platforms. */
export const offerOf = (images: ImageOffer[]) => ({
  images,
  platforms: [...new Set(images.map(({ platform }) => platform))],
});

const isAlike = (one: ImageIdentity, other: ImageIdentity): boolean =>
  one.digest === other.digest && one.provisioned === other.provisioned;

const complete = (generation: NewGeneration): Generation => ({
  ...{ reference: null, hostKey: null, answersExec: false },
  ...generation,
});

const withNote = (state: ImageState, vm: string, note: Partial<Generation>): ImageState => {
  const noted = (generation: Generation | null) => (generation?.vm === vm ? { ...generation, ...note } : generation);
  const { current, previous, candidate } = state;
  return { ...state, current: noted(current)!, previous: noted(previous), candidate: noted(candidate) };
};

const missingWords = (name: string, vm: string): string =>
  `there is no VM ${vm}, from which builds of the image ${name} are cloned. Make it with \`expo-worker base-image --image ${name}\``;
