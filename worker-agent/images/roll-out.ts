/**
 * Decides which VM an image is cloned from: a new generation, the one before it, or back again. Pure.
 *
 *   candidate ──doctor passes──► current ──ten builds reach `building`──► previous is deleted
 *                                   │ two builds in a row blame the image
 *                                   └──► previous is current again, once; then a person decides
 *
 * Invariant: an image always has a current generation. A VM is to be deleted only if it is no generation any
 * more, and only if it is known how it was provisioned, so that no VM of a person is deleted.
 */
import type { Cause, Outcome, Verdict } from '#contract';
import type { Generation, ImageState } from './images-file.ts';

/** The previous generation is deleted after this many builds have reached `building`. */
export const PROVEN_AFTER = 10;
/** After this many builds in a row that blame the image, it is switched back. */
const STRIKES = 2;

/** The ending of an attempt in a VM of this image. */
export interface ToldOfAttempt {
  /** The VM that it was cloned from. */
  vm: string;
  buildId: string;
  /** Null if an older controller has not named it. */
  projectId: string | null;
  /** Whether its command was started. */
  reachedBuilding: boolean;
  /** The controller's decision. */
  outcome: Outcome;
  at: string;
}

/** The verdict on the image that an ending implies. `proves` needs an attempt that has reached `building`. */
type Says = 'proves' | 'blames' | 'nothing';

const VERDICT_SAYS: Record<Verdict, Says> = {
  build_failed: 'proves',
  build_timeout: 'proves',
  no_output: 'proves',
  source_invalid: 'proves',
  project_invalid: 'proves',
  artifact_missing: 'proves',
  artifact_refused: 'proves',
  inputs_gone: 'proves',
  cancelled: 'proves',
  queue_expired: 'nothing',
  vm_silent: 'nothing',
  worker_lost: 'nothing',
  boot_timeout: 'blames',
  vm_start_failed: 'nothing',
  health_check_failed: 'blames',
  vm_exited: 'nothing',
  worker_restarted: 'nothing',
  worker_stopped: 'nothing',
  transfer_failed: 'nothing',
};
/** With these causes the Mac or the network is to blame, with any verdict. */
const EXCUSING: readonly (Cause | null)[] = ['host_asleep', 'host_network_down', 'host_disk_full', 'vm_network_down'];

export function whatItSays(
  { outcome, reachedBuilding }: Pick<ToldOfAttempt, 'outcome' | 'reachedBuilding'>,
  { answersExec }: Pick<Generation, 'answersExec'>,
): Says {
  const { verdict, step, cause } = outcome;
  if (cause === 'vm_restarted' || (cause === 'vm_frozen' && answersExec)) return 'blames';
  const says = verdict === null ? 'proves' : VERDICT_SAYS[verdict];
  // The VM may have lost its network instead.
  if (cause === 'vm_frozen' && says !== 'blames') return 'nothing';
  if (says === 'proves') return reachedBuilding ? 'proves' : 'nothing';
  if (EXCUSING.includes(cause) || (verdict === 'health_check_failed' && step === 'controller')) return 'nothing';
  return says;
}

export const firstState = (vm: string, hostKey: string | null = null): ImageState => ({
  current: { vm, digest: null, provisioned: null, reference: null, hostKey, answersExec: false },
  previous: null,
  candidate: null,
  succeeded: [],
  strikes: [],
  switchedBack: null,
  unwanted: [],
});

/** Notes how an attempt has ended. Ignores an attempt in another generation than the current one. */
export function withOutcome(state: ImageState, told: ToldOfAttempt): ImageState {
  if (told.vm !== state.current.vm) return state;
  const says = whatItSays(told, state.current);
  if (says === 'nothing') return state;
  if (says === 'proves') {
    const succeeded = [...new Set([...state.succeeded, told.buildId])].slice(0, PROVEN_AFTER);
    const previous = succeeded.length < PROVEN_AFTER ? state.previous : null;
    return settled(state, { ...state, succeeded, previous, strikes: [] });
  }
  const { buildId, projectId, at } = told;
  const others = state.strikes.filter((strike) => strike.buildId !== buildId);
  const strikes = [...others, { buildId, projectId, why: inWords(told.outcome), at }].slice(-STRIKES);
  const blamed = { ...state, strikes };
  return isToBeSwitchedBack(blamed) ? switchedBackFrom(blamed, at) : blamed;
}

function isToBeSwitchedBack({ previous, switchedBack, succeeded, strikes }: ImageState): boolean {
  if (!previous || switchedBack || strikes.length < STRIKES) return false;
  return succeeded.length === 0 || new Set(strikes.map(({ projectId }) => projectId)).size > 1;
}

function switchedBackFrom(state: ImageState, at: string): ImageState {
  const why = state.strikes.map((strike) => `${strike.buildId} ended with ${strike.why}`).join(', ');
  return back(state, { at, why })!;
}

/** Null if there is no previous generation. */
export function back(state: ImageState, reason: { at: string; why: string }): ImageState | null {
  const { current, previous } = state;
  if (!previous) return null;
  const switchedBack = { vm: current.vm, reference: current.reference, ...reason };
  return settled(state, { ...state, ...FRESH, current: previous, previous: null, candidate: current, switchedBack });
}

/**
 * Null if there is no candidate. An image that was switched back once is not switched back by itself again.
 */
export function promote(state: ImageState): ImageState | null {
  const { current, candidate } = state;
  if (!candidate) return null;
  return settled(state, { ...state, ...FRESH, current: candidate, previous: current, candidate: null });
}

/** A new generation that has still to be checked. */
export const withCandidate = (state: ImageState, candidate: Generation): ImageState =>
  settled(state, { ...state, candidate });

/** The candidate has passed its checks. */
export function switchToCandidate(state: ImageState, { keepPrevious }: { keepPrevious: boolean }): ImageState {
  const { current, candidate } = state;
  if (!candidate) return state;
  const previous = keepPrevious ? current : null;
  return settled(state, { ...state, ...FRESH, current: candidate, previous, candidate: null, switchedBack: null });
}

/** The counts that belong to one current generation. */
const FRESH = { succeeded: [], strikes: [] };

export const generationsOf = ({ current, previous, candidate }: ImageState): Generation[] =>
  [current, previous, candidate].filter((generation) => generation !== null);

/** The VMs that the change has dropped from the image without marking them for deletion. */
export function leftBehind(before: ImageState, after: ImageState): string[] {
  const known = [...generationsOf(after).map(({ vm }) => vm), ...after.unwanted];
  return generationsOf(before).flatMap(({ vm }) => (known.includes(vm) ? [] : [vm]));
}

/** Marks VMs that are no generation any more as unwanted, if it is known how they were provisioned. */
function settled(before: ImageState, after: ImageState): ImageState {
  const vms = generationsOf(after).map(({ vm }) => vm);
  const dropped = generationsOf(before).filter(({ provisioned }) => provisioned !== null);
  const unwanted = new Set([...after.unwanted, ...dropped.map(({ vm }) => vm)]);
  return { ...after, unwanted: [...unwanted].filter((vm) => !vms.includes(vm)) };
}

const inWords = ({ verdict, step, cause }: Outcome): string =>
  [verdict ?? 'success', step && `at ${step}`, cause && `because of ${cause}`].filter(Boolean).join(' ');
