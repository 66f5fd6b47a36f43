/**
 * Decides what a starting agent does about each attempt that it, its Mac or the controller still knows. A
 * table, pure.
 *
 * Invariant: a VM of ours is adopted, kept or destroyed. A finished result is always delivered. An attempt
 * that cannot go on is always reported. VMs whose names are not of this worker's pattern never get here.
 */

/**
 * current      the controller counts this attempt as running
 * ended        the controller answers and does not count it
 * refused      the controller answers, but not to this key; that may be a mistake, so it ends no attempt
 * unreachable  the controller does not answer
 */
export const CONTROLLER_SAYS = ['current', 'ended', 'refused', 'unreachable'] as const;
export type ControllerSays = (typeof CONTROLLER_SAYS)[number];

/**
 * finished  a result is on disk                   running  journalled, and its VM runs
 * kept      a result is on disk, and its VM is kept for a look and runs
 * unbooted  journalled, and its VM never booted   stopped  journalled, and its VM exists but does not run
 * gone      journalled, but its VM has vanished   orphan   a VM without a journal
 * claiming  the answer to our claim was lost      nothing  neither VM nor journal
 */
export const HERE = [
  'finished',
  'kept',
  'unbooted',
  'running',
  'stopped',
  'gone',
  'orphan',
  'claiming',
  'nothing',
] as const;
export type Here = (typeof HERE)[number];

/**
 * begin    boot a new VM for it                     adopt  go on where the journal stands
 * deliver  report the result, destroy the VM        lost   report worker_restarted, destroy what is left
 * keep     report the result, keep the VM to its end
 * discard  destroy what is left, report no result   claim  the next claim, with the same id, brings it
 * none     nothing to do
 */
export type Action = 'begin' | 'adopt' | 'deliver' | 'keep' | 'lost' | 'discard' | 'claim' | 'none';
/** The actions that an attempt with a journal may need. */
export type AttemptAction = Exclude<Action, 'claim' | 'none'>;

export const RECONCILE: Record<ControllerSays, Record<Here, Action>> = {
  current: {
    finished: 'deliver',
    kept: 'keep',
    unbooted: 'begin',
    running: 'adopt',
    stopped: 'lost',
    gone: 'lost',
    orphan: 'lost',
    claiming: 'claim',
    nothing: 'lost',
  },
  ended: {
    // This very report may have ended it, and its answer was lost.
    finished: 'deliver',
    kept: 'keep',
    unbooted: 'discard',
    running: 'discard',
    stopped: 'discard',
    gone: 'discard',
    orphan: 'discard',
    claiming: 'none',
    nothing: 'none',
  },
  // The beats of an adopted attempt go on, and the first answer says whether it still counts.
  refused: {
    finished: 'deliver',
    kept: 'keep',
    unbooted: 'begin',
    running: 'adopt',
    stopped: 'lost',
    gone: 'lost',
    orphan: 'discard',
    claiming: 'none',
    nothing: 'none',
  },
  unreachable: {
    finished: 'deliver',
    kept: 'keep',
    unbooted: 'begin',
    running: 'adopt',
    stopped: 'lost',
    gone: 'lost',
    orphan: 'discard',
    claiming: 'none',
    nothing: 'none',
  },
};

export interface KnownAttempt {
  buildId: string;
  attempt: number;
}
export interface JournalFacts extends KnownAttempt {
  vmName: string;
  finished: boolean;
  kept: boolean;
  booted: boolean;
}
export interface VmFacts extends KnownAttempt {
  vmName: string;
  running: boolean;
}
export interface Facts {
  journals: readonly JournalFacts[];
  /** VMs of this worker's pattern, and no others. */
  vms: readonly VmFacts[];
  controller:
    | { says: 'refused' | 'unreachable' }
    | { says: 'known'; attempts: readonly (KnownAttempt & { claimId: string })[] };
  unansweredClaimId: string | null;
}
export interface Decision extends KnownAttempt {
  says: ControllerSays;
  here: Here;
  action: Action;
}

const keyOf = ({ buildId, attempt }: KnownAttempt) => `${buildId}-${attempt}`;

/** One decision for each attempt that the journals, the VMs or the controller know of. */
export function reconcile({ journals, vms, controller, unansweredClaimId }: Facts): Decision[] {
  const active = controller.says === 'known' ? controller.attempts : [];
  const known = new Map<string, KnownAttempt>([...journals, ...vms, ...active].map((one) => [keyOf(one), one]));
  return [...known].map(([key, { buildId, attempt }]) => {
    const sameAs = (one: KnownAttempt) => keyOf(one) === key;
    const current = active.find(sameAs);
    const claiming = current !== undefined && current.claimId === unansweredClaimId;
    const here = whatIsHere(journals.find(sameAs), vms.find(sameAs), claiming);
    const says = controller.says === 'known' ? (current ? 'current' : 'ended') : controller.says;
    return { buildId, attempt, says, here, action: RECONCILE[says][here] };
  });
}

function whatIsHere(journal: JournalFacts | undefined, vm: VmFacts | undefined, claiming: boolean): Here {
  if (journal?.finished) return journal.kept && vm?.running ? 'kept' : 'finished';
  if (journal && !journal.booted) return 'unbooted';
  if (journal) return vm ? (vm.running ? 'running' : 'stopped') : 'gone';
  // The agent makes a VM only once its assignment is on disk, so a claim whose answer was lost has none.
  if (vm) return 'orphan';
  return claiming ? 'claiming' : 'nothing';
}
