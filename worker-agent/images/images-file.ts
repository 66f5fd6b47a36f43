/**
 * Remembers which VM each image of this Mac is cloned from, and how its builds have ended.
 *
 * Invariant: the agent and a command of a person may both write. Each change reads the file, decides and
 * writes it within one lock, so that neither overwrites a decision of the other.
 *
 * Owns `images.json` and `images.lock` in the state folder.
 */
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { ImageDigest, ImageReference, Sha256 } from '#contract';
import { withFileLock } from '../state/file-lock.ts';
import { orForbidden } from '../state/forbidden.ts';

/** One snapshot of an image: a VM that is cloned for each build. */
export const Generation = z.object({
  vm: z.string(),
  /**
   * The digest of the public image it was made from. Both are null if it was made by hand or by an older
   * agent.
   */
  digest: ImageDigest.nullable(),
  provisioned: Sha256.nullable(),
  /** Where it was fetched from, if a pool named it. */
  reference: ImageReference.nullable().default(null),
  /** As `SHA256:…`. All clones show it. Null: not pinned. */
  hostKey: z.string().nullable().default(null),
  /** Doctor has seen a clone answer `tart exec`. This tells a VM without network from a frozen one. */
  answersExec: z.boolean().default(false),
});
export type Generation = z.infer<typeof Generation>;

const ImageState = z.object({
  current: Generation,
  /** The former current generation, until the new one has proved itself. */
  previous: Generation.nullable(),
  /** Not current, because its checks have not passed or because it was switched back. */
  candidate: Generation.nullable(),
  /** Builds of `current` that reached `building` and that the infrastructure did not end; ten at most. */
  succeeded: z.array(z.string()),
  /** The last builds in a row whose end blames `current`. */
  strikes: z.array(
    z.object({ buildId: z.string(), projectId: z.string().nullable(), why: z.string(), at: z.string() }),
  ),
  /**
   * The last switch back, until a newer candidate is current. Meanwhile no image is switched back by itself.
   */
  switchedBack: z
    .object({ vm: z.string(), reference: z.string().nullable(), at: z.string(), why: z.string() })
    .nullable(),
  /** VMs to delete. */
  unwanted: z.array(z.string()),
});
export type ImageState = z.infer<typeof ImageState>;

const ImageStates = z.record(z.string(), ImageState);
export type ImageStates = z.infer<typeof ImageStates>;

export class ImagesFile {
  readonly #dir: string;
  readonly #onDamaged: (message: string) => void;

  constructor(dir: string, onDamaged: (message: string) => void = () => {}) {
    this.#dir = dir;
    this.#onDamaged = onDamaged;
  }

  get #path(): string {
    return join(this.#dir, 'images.json');
  }

  /** By name. An image without an entry is in the state of its first snapshot. */
  read(): ImageStates {
    const read = this.#parse();
    return read === 'damaged' ? {} : read;
  }

  /** Returns the result of `decide` once it is on disk. */
  change(decide: (states: ImageStates) => ImageStates): ImageStates {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    return withFileLock(join(this.#dir, 'images.lock'), () => {
      const before = this.#readable();
      const states = decide(before);
      if (states !== before)
        writeFileAtomic.sync(this.#path, `${JSON.stringify(states)}\n`, { mode: 0o600, fsync: true });
      return states;
    });
  }

  /** Sets a damaged file aside. A file that it may not read stays, and later readers report the reason. */
  setAsideIfDamaged(): void {
    try {
      if (this.#parse() !== 'damaged') return;
    } catch {
      return;
    }
    this.change((states) => states);
  }

  #readable(): ImageStates {
    const read = this.#parse();
    if (read !== 'damaged') return read;
    renameSync(this.#path, `${this.#path}.damaged`);
    this.#onDamaged(
      `${this.#path} could not be read and was set aside as images.json.damaged: every image is taken to be its first snapshot again`,
    );
    return {};
  }

  #parse(): ImageStates | 'damaged' {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
      throw orForbidden(error);
    }
    try {
      return ImageStates.parse(JSON.parse(text));
    } catch {
      return 'damaged';
    }
  }
}
