/**
 * Claims builds while a slot is free and nothing on this Mac is in the way of a VM.
 *
 * Invariant: a claim keeps its id until the journal of the attempt that it brought is on disk, or that
 * attempt has ended, so that an answer that is lost costs no build. No error ends the loop.
 */
import type { Assignment } from '#contract';
import { jittered, pause } from '../../client/retry.ts';
import type { WorkerClient } from '../../client/worker-client.ts';
import type { Emit } from '../events.ts';
import { type Images, offerOf } from '../images/images.ts';
import type { StateFolder } from '../state/state-folder.ts';
import { FAILED_PAUSE_MS, READY_FOR_MS, REFUSED_PAUSE_MS, STATUS_INTERVAL_MS } from '../time-limits.ts';
import { vmNameOf } from '../vm/name.ts';
import type { Reachability } from './reachability.ts';
import type { Readiness } from './readiness.ts';
import type { Slots } from './slots.ts';

export interface ClaimingOptions {
  client: WorkerClient;
  state: StateFolder;
  slots: Slots;
  readiness: Readiness;
  reachability: Reachability;
  emit: Emit;
  /** How many VMs this Mac runs at a time. */
  vmSlots: number;
  images: Images;
  workerId: string;
  instanceId: string;
}

interface Claimed {
  claimed: boolean;
  /** How long to wait before the next claim, if this one brought no build. */
  waitMs: number;
}

export class Claiming {
  readonly #options: ClaimingOptions;
  /** The state and the reason that the last idle event told. */
  #idle = '';

  constructor(options: ClaimingOptions) {
    this.#options = options;
  }

  /** Resolves when `signal` has fired, or with `once` after the first build. */
  async run(signal: AbortSignal, { once }: { once: boolean }): Promise<void> {
    const { slots, readiness, images } = this.#options;
    for (let claimed = false; !signal.aborted && !(once && claimed); ) {
      const changed = AbortSignal.any([slots.changed, readiness.changed, images.changed]);
      const next = await this.#claimIfFree();
      claimed ||= next.claimed;
      if (!next.claimed) await pause(jittered(next.waitMs), AbortSignal.any([signal, changed])).catch(() => {});
    }
  }

  async #claimIfFree(): Promise<Claimed> {
    const { slots, readiness, emit } = this.#options;
    if (!slots.isOneFree) return { claimed: false, waitMs: STATUS_INTERVAL_MS };
    if (!readiness.isReady) {
      if (readiness.obstacle !== null) this.#sayIdle('not_ready', readiness.obstacle);
      return { claimed: false, waitMs: READY_FOR_MS };
    }
    try {
      return await this.#claim();
    } catch (error) {
      // The disk cannot be written, for example.
      emit({ type: 'warning', message: `claiming failed: ${(error as Error).message}` });
      return { claimed: false, waitMs: REFUSED_PAUSE_MS };
    }
  }

  /** No signal ends a request that is under way, because the build that it brings would have no agent. */
  async #claim(): Promise<Claimed> {
    const { client, slots, state, reachability, vmSlots, images, workerId, instanceId } = this.#options;
    using _claim = slots.beginClaim();
    const claimId = await state.pendingClaimId();
    const offer = { slots: vmSlots, ...offerOf(images.offers()) };
    const answer = reachability.heard(await client.claim(workerId, { instanceId, claimId, ...offer }));
    if (!answer.ok && answer.kind === 'unreachable')
      return { claimed: false, waitMs: Math.max(FAILED_PAUSE_MS, answer.retryAfterMs ?? 0) };
    if (!answer.ok) {
      this.#sayIdle('refused', `${answer.code}: ${answer.message}`);
      return { claimed: false, waitMs: REFUSED_PAUSE_MS };
    }
    const { assignment, nextMs, reason, claimIsOver } = answer.value;
    if (claimIsOver) {
      // The answer was lost, and the attempt has ended. This id would never bring a build.
      await state.forgetClaim();
      return { claimed: false, waitMs: 0 };
    }
    if (!assignment) {
      this.#sayIdle('idle', reason);
      return { claimed: false, waitMs: nextMs };
    }
    this.#idle = '';
    return { claimed: await this.#accept(assignment), waitMs: nextMs };
  }

  async #accept(assignment: Assignment): Promise<boolean> {
    const { state, slots, images, emit, workerId } = this.#options;
    const { buildId, attempt } = assignment;
    // The controller repeats an answer that we have had: the attempt is journalled, the claim not yet
    // forgotten.
    if (slots.attempts.includes(`${buildId}-${attempt}`)) {
      await state.forgetClaim();
      return false;
    }
    try {
      const journal = await state.createAttempt(
        assignment,
        vmNameOf({ workerId, buildId, attempt }),
        images.generationFor(assignment),
      );
      await state.forgetClaim();
      slots.start(journal, 'begin', { resumed: false });
      return true;
    } catch (error) {
      const message = `build ${buildId} cannot be taken: ${(error as Error).message}`;
      emit({ type: 'warning', message });
      return false;
    }
  }

  /** Tells why there is no build, once for each reason. */
  #sayIdle(state: string, reason: string | null): void {
    const said = `${state} ${reason}`;
    if (said === this.#idle) return;
    this.#idle = said;
    this.#options.emit({ type: 'idle', state, reason });
  }
}
