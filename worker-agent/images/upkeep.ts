/**
 * Notes how attempts end, and deletes the VMs that no image needs any more.
 *
 * Invariant: no error here ends an attempt or the agent. Deletions that failed are retried.
 */
import type { Outcome } from '#contract';
import { jittered, pause } from '../../client/retry.ts';
import type { Emit } from '../events.ts';
import type { AttemptState } from '../state/journal.ts';
import type { Images } from './images.ts';

/** Looks this often, because a command may have changed which VMs are needed. */
const LOOK_MS = 60_000;

export interface ImageUpkeepOptions {
  images: Images;
  /** `imageVms`: the VMs that attempts may still clone. */
  slots: { readonly imageVms: string[] };
  emit: Emit;
  onSwitchedBack: () => void;
}

export class ImageUpkeep {
  readonly #options: ImageUpkeepOptions;

  constructor(options: ImageUpkeepOptions) {
    this.#options = options;
  }

  noteOutcome({ assignment, image, commandStartedAtMs }: AttemptState, outcome: Outcome): void {
    if (!image) return;
    const { images, emit, onSwitchedBack } = this.#options;
    const { buildId, projectId = null } = assignment;
    const reachedBuilding = commandStartedAtMs !== null;
    const at = new Date().toISOString();
    try {
      const told = { vm: image.vm, buildId, projectId, reachedBuilding, outcome, at };
      if (images.noteOutcome(image.name, told)) onSwitchedBack();
    } catch (error) {
      // The image may have left the config, or the disk may be full.
      const message = `how ${buildId} has ended was not noted for the image ${image.name}: ${(error as Error).message}`;
      emit({ type: 'warning', message });
    }
  }

  /** Resolves when `signal` has fired. */
  async run(signal: AbortSignal): Promise<void> {
    const { images, slots, emit } = this.#options;
    while (!signal.aborted) {
      const { changed } = images;
      await images.removeUnwanted(slots.imageVms, signal).catch((error: Error) => {
        if (!signal.aborted) emit({ type: 'warning', message: `former images were not looked at: ${error.message}` });
      });
      await pause(jittered(LOOK_MS), AbortSignal.any([signal, changed])).catch(() => {});
    }
  }
}
