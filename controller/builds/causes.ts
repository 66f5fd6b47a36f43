/**
 * Finds the cause why an attempt ended, from its evidence. Pure.
 *
 * Invariant: it gives a cause only with a verdict and a step that this cause can lead to. A probe that could
 * not be made proves nothing.
 */
import {
  type Cause,
  type Evidence,
  type HandBackReason,
  limitOrDefaultMs,
  type Timeouts,
  type Verdict,
} from '#contract';
import { isInfrastructure } from './verdicts.ts';

/** How the attempt ended: its verdict, with step and message. */
export interface Ended {
  verdict: Verdict;
  /** Why the Mac could have no VM, as the agent understood Tart. */
  handBack?: HandBackReason | undefined;
  step?: string | null | undefined;
  message?: string | null | undefined;
}

type KnownCause = Exclude<Cause, 'unknown'>;

interface Seen {
  ended: Ended;
  evidence: Evidence;
  /** The timeout that turned silence into this verdict. */
  limitMs: number;
}

const DISK_FULL_BYTES = 256 * 1024 * 1024;
/** A command that fails on a full disk removes its own files, so the disk has some space again. */
const DISK_WAS_FULL_BYTES = 5 * 1024 * 1024 * 1024;

/** How the kernel, Apple's frameworks and Node say that a disk is full. Only Node names the error code. */
const NO_SPACE = /no space left on device|out of (?:disk )?space|not enough (?:free |disk )*space|\bENOSPC\b/i;
const NO_SPACE_IN_NODE = /\bENOSPC\b/;
/** The monitor ends by itself when the controller tells it that the attempt is over. */
const MONITOR_WAS_TOLD = /^\[VM Monitor\] Stopping: /m;

const FULL: readonly KnownCause[] = ['disk_full', 'host_disk_full', 'out_of_memory'];
const SLEPT_OR_FULL: readonly KnownCause[] = ['host_asleep', ...FULL];

/** The causes that each verdict may have. The first one that the evidence shows is the cause. */
const CAUSES_OF: Record<Verdict, readonly KnownCause[]> = {
  build_failed: FULL,
  build_timeout: SLEPT_OR_FULL,
  no_output: SLEPT_OR_FULL,
  source_invalid: [],
  project_invalid: [],
  artifact_missing: [],
  artifact_refused: [],
  inputs_gone: [],
  cancelled: [],
  queue_expired: [],
  vm_silent: [
    ...['host_asleep', 'vm_restarted', 'disk_full', 'host_disk_full', 'vm_exited', 'vm_frozen', 'sshd_died'],
    ...['out_of_memory', 'monitor_died', 'vm_network_down', 'host_network_down'],
  ] as KnownCause[],
  worker_lost: ['host_asleep', 'host_network_down', 'host_disk_full'],
  boot_timeout: [
    ...['host_asleep', 'disk_full', 'host_disk_full', 'vm_exited', 'vm_frozen', 'sshd_died'],
    ...['monitor_died', 'vm_network_down', 'host_network_down'],
  ] as KnownCause[],
  vm_start_failed: ['vm_limit', 'host_disk_full'],
  health_check_failed: ['host_disk_full', 'vm_exited'],
  vm_exited: ['vm_restarted', 'host_disk_full', 'vm_exited'],
  worker_restarted: ['host_disk_full', 'vm_exited'],
  worker_stopped: [],
  transfer_failed: ['vm_restarted', 'disk_full', 'host_disk_full', 'vm_exited', 'host_network_down'],
};

/** The causes at single steps, where the step says more than the verdict. */
const CAUSES_OF_STEP: Partial<Record<Verdict, Record<string, readonly KnownCause[]>>> = {
  health_check_failed: {
    vm_address: ['host_disk_full', 'vm_exited', 'vm_frozen', 'vm_network_down'],
    vm_identity: [],
    ssh: ['host_disk_full', 'vm_exited', 'vm_frozen', 'sshd_died', 'vm_network_down'],
    guest_scripts: ['disk_full', 'host_disk_full'],
    disk_space: ['disk_full'],
    monitor: ['disk_full', 'monitor_died', 'vm_network_down'],
    curl: [],
    controller: ['vm_network_down'],
    clock: [],
  },
  transfer_failed: {
    // The VM sends heartbeats, so it is not frozen. A full disk does not stop sshd.
    ssh: ['vm_restarted', 'vm_exited', 'sshd_died'],
    log: ['vm_restarted', 'host_disk_full', 'vm_exited'],
  },
};

/** The cause of a verdict of the infrastructure if the evidence shows none. */
const OTHERWISE: Partial<Record<Verdict, Cause | null>> = {
  // The agent saw `tart run` end, which is the verdict itself.
  vm_exited: 'vm_exited',
  worker_restarted: 'vm_exited',
  // A person decided this, so there is no fault.
  worker_stopped: null,
};

/** The evidence that shows each cause. */
const SHOWN_BY: Record<KnownCause, (seen: Seen) => boolean> = {
  // A sleep does not explain the silence if it was shorter than half of the timeout, or if it ended before
  // the silence began.
  host_asleep: ({ evidence: { hostAsleepMs = 0, hostAwakeMs = 0 }, limitMs }) =>
    hostAsleepMs >= limitMs / 2 && hostAwakeMs <= limitMs,
  disk_full: ({ ended, evidence }) => isVmDiskFull(ended, evidence),
  host_disk_full: ({ ended, evidence }) => isHostDiskFull(ended, evidence),
  out_of_memory: ({ evidence }) => (evidence.vmMemory?.outOfMemoryKills ?? 0) > 0,
  vm_restarted: ({ ended, evidence }) =>
    evidence.vmRestarted === true || (ended.verdict === 'vm_exited' && ended.step === 'restart'),
  vm_limit: ({ ended }) => ended.handBack === 'vm_limit',
  vm_exited: ({ evidence: { runExited, vm } }) => runExited === true || vm === 'stopped' || vm === 'missing',
  // A VM that refuses or closes a connection is not frozen, because it still answers. A VM that answers
  // without its network is not frozen either.
  vm_frozen: ({ evidence: { vm, ssh, secondWay } }) =>
    vm === 'running' &&
    ssh?.answers === false &&
    !['refused', 'closed', 'auth'].includes(ssh.kind ?? '') &&
    secondWay?.answers !== true,
  sshd_died: ({ evidence }) => isSshdDead(evidence),
  monitor_died: ({ evidence: { ssh, monitor } }) =>
    ssh?.answers === true && monitor?.alive === false && !MONITOR_WAS_TOLD.test(monitor.log),
  // The network may work again by now, because the agent has heard of the end. So only the length of the
  // outage counts.
  host_network_down: ({ evidence, limitMs }) => (evidence.controllerUnreachableMs ?? 0) >= limitMs / 2,
  vm_network_down: ({ ended, evidence }) =>
    ended.step === 'controller' || evidence.controllerFromVm?.reachable === false,
};

/**
 * Returns null if the verdict needs no cause, because the user is responsible for it or a person stopped the
 * worker.
 */
export function causeOf(ended: Ended, evidence: Evidence, timeouts: Timeouts): Cause | null {
  const { verdict, step } = ended;
  const candidates = CAUSES_OF_STEP[verdict]?.[step ?? ''] ?? CAUSES_OF[verdict];
  const seen = { ended, evidence, limitMs: limitOf(verdict, timeouts) };
  const found = candidates.find((cause) => SHOWN_BY[cause](seen));
  if (found) return found;
  const otherwise = OTHERWISE[verdict];
  return otherwise === undefined ? (isInfrastructure(verdict) ? 'unknown' : null) : otherwise;
}

function isVmDiskFull({ verdict, step, message }: Ended, { vmDisk, logTail }: Evidence): boolean {
  if (verdict === 'transfer_failed' && NO_SPACE.test(message ?? '') && !NO_SPACE_IN_NODE.test(message ?? ''))
    return true;
  if (!vmDisk) return false;
  // The check found less free space than a build needs.
  if (verdict === 'health_check_failed' && step === 'disk_space') return true;
  return vmDisk.freeBytes < DISK_FULL_BYTES || (vmDisk.freeBytes < DISK_WAS_FULL_BYTES && NO_SPACE.test(logTail ?? ''));
}

function isHostDiskFull({ verdict, message }: Ended, { hostDisk, runOutput }: Evidence): boolean {
  if (hostDisk && hostDisk.freeBytes < DISK_FULL_BYTES) return true;
  if (verdict === 'vm_start_failed') return NO_SPACE.test(message ?? '');
  if (verdict === 'vm_exited' && NO_SPACE.test(runOutput ?? '')) return true;
  return verdict === 'transfer_failed' && NO_SPACE_IN_NODE.test(message ?? '');
}

/**
 * Whether the VM lives and its network works, but nobody serves SSH. If SSH is refused, the network works as
 * far as the Mac. If the VM did not reach the controller, that proves nothing when the Mac did not reach it
 * either. A missing route and a refused key are not the fault of sshd.
 */
function isSshdDead({ ssh, secondWay, controllerFromVm, controllerUnreachableMs }: Evidence): boolean {
  if (!secondWay?.answers || ssh?.answers !== false) return false;
  if (['refused', 'closed'].includes(ssh.kind ?? ''))
    return controllerFromVm?.reachable !== false || controllerUnreachableMs !== undefined;
  return ssh.kind === 'silent' && controllerFromVm?.reachable === true;
}

const LIMIT_OF: Partial<Record<Verdict, keyof Timeouts>> = {
  worker_lost: 'workerTimeoutMs',
  boot_timeout: 'bootTimeoutMs',
  no_output: 'noOutputTimeoutMs',
  build_timeout: 'buildTimeoutMs',
};

const limitOf = (verdict: Verdict, timeouts: Timeouts): number =>
  limitOrDefaultMs(timeouts, LIMIT_OF[verdict] ?? 'heartbeatTimeoutMs');
