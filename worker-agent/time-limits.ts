/**
 * Holds every limit of the agent that several files need, each with its reason, and computes those that
 * depend on the timeouts of a build.
 *
 * Invariant: a build with short timeouts is watched by short clocks.
 */
import { AFTERMATH_MS, type Assignment, limitOrDefaultMs, partitionGraceMs, type Timeouts } from '#contract';

/** One request to the controller, up to its answer. */
export const REQUEST_MS = 10_000;

/** A clock that is off by more makes certificates look invalid. */
export const CLOCK_TOLERANCE_MS = 30_000;

/** The limits that a test or an operator's program may change; see `AgentOptions.limits`. */
export const AGENT_LIMITS = {
  /** How long a build continues while the controller is away and no other Mac can run it. */
  outageMs: 30 * 60_000,
  /**
   * An attempt ends when SSH has been dead for this long while the VM still beats, or when one command has
   * had no answer for this long, over all its tries.
   */
  sshDeadMs: 120_000,
  /** All probes of a VM together, before it is destroyed. */
  evidenceMs: 15_000,
  /** The same when another Mac may soon run this build: the VM must be destroyed first. */
  partitionedEvidenceMs: 2_000,
  /** How long after its end the log of an attempt may still arrive. */
  aftermathMs: AFTERMATH_MS,
  /**
   * How long the agent keeps a result that is neither accepted nor refused. Its token expires long before.
   */
  resultKeepMs: 24 * 3_600_000,
  /** The time after the second signal to report `worker_stopped` and to destroy the VM. */
  stopMs: 30_000,
  monitorRestartsMax: 3,
  /** A beat that failed or was refused is repeated after this time at the latest. */
  beatRepeatMs: 5_000,
  requestMs: REQUEST_MS,
  /** A transfer of any size ends when no byte has moved for this long. */
  transferStallMs: 60_000,
} as const;
export type AgentLimits = { [name in keyof typeof AGENT_LIMITS]: number };

/** For a command in the VM that is done at once. Generous, because a VM under load answers slowly. */
export const GUEST_COMMAND_MS = 30_000;

/** For bringing the guest scripts into a VM that may have just booted. */
export const GUEST_INSTALL_MS = 60_000;

/** For one more try to reach a VM whose connection has broken: its address first, then SSH. */
export const RECONNECT_MS = 10_000;

/** The agent sends its status at least this often, and looks for a free slot at least this often. */
export const STATUS_INTERVAL_MS = 60_000;
/** The agent claims only if it has checked its Mac within this time. */
export const READY_FOR_MS = 30_000;
/** Shorter than READY_FOR_MS, so that the next answer is there before the last one is too old. */
export const READY_LOOK_MS = 25_000;
/** While there is an obstacle, the agent looks more often, because it may disappear at any moment. */
export const NOT_READY_LOOK_MS = 10_000;

/** The longest time for which the agent claims nothing after macOS has refused it a VM. */
const VM_LIMIT_PAUSE_MS = 120_000;

/** The pause before the agent retries to write down the end of an attempt, and the limit for all tries. */
export const CLOSE_PAUSE_MS = 10_000;
export const CLOSE_MAX_MS = 120_000;
/** The pause before the agent asks again after a refusal, which a person has to correct. */
export const REFUSED_PAUSE_MS = 10_000;
/** The pause before the agent asks again after a request that did not reach the controller. */
export const FAILED_PAUSE_MS = 5_000;

export interface BootLimits {
  cloneMs: number;
  setMs: number;
  addressMs: number;
  sshMs: number;
}
/** A clone may copy a whole disk, while `tart set` only changes a file. */
export const BOOT_LIMITS: BootLimits = { cloneMs: 300_000, setMs: 60_000, addressMs: 180_000, sshMs: 120_000 };

/**
 * For a short command by `tart exec`. Tart waits 10 s for the guest agent, which does not run in a frozen VM.
 */
export const TART_EXEC_MS = 20_000;

/**
 * How long the platform's message that nobody reaches the controller counts. Several beats are tried within
 * this time.
 */
export const OUTAGE_FRESH_MS = 30_000;

/** How long this attempt may continue without an accepted beat. */
export function contactLimitMs(
  { anotherAttemptPossible, timeouts }: Pick<Assignment, 'anotherAttemptPossible' | 'timeouts'>,
  limits: AgentLimits,
): number {
  // With workerTimeout off, our silence leads to no other attempt. Otherwise this VM must be destroyed before
  // another Mac can claim the build.
  if (!anotherAttemptPossible || timeouts.workerTimeoutMs === null) return limits.outageMs;
  return timeouts.workerTimeoutMs + partitionGraceMs(timeouts.workerTimeoutMs);
}

/**
 * Shares of the time to boot. A step that hangs ends the attempt under its own name, before bootTimeout ends
 * it without a name. The shares add up to more than the whole, because several slow steps mean a slow boot,
 * not a hung step.
 */
export function bootLimits({ bootTimeoutMs }: Timeouts): BootLimits {
  const share = (step: keyof BootLimits, part: number) =>
    Math.min(BOOT_LIMITS[step], (bootTimeoutMs ?? Number.POSITIVE_INFINITY) * part);
  return {
    cloneMs: share('cloneMs', 0.5),
    setMs: share('setMs', 0.2),
    addressMs: share('addressMs', 0.3),
    sshMs: share('sshMs', 0.2),
  };
}

/**
 * How long the agent claims nothing after macOS has refused it a VM. `tart list` does not show the VMs of
 * other programs and accounts, so only another try shows whether they have ended.
 */
export const vmLimitPauseMs = ({ bootTimeoutMs }: Timeouts): number =>
  Math.min(VM_LIMIT_PAUSE_MS, (bootTimeoutMs ?? Number.POSITIVE_INFINITY) / 5);

export const sshDeadLimitMs = (timeouts: Timeouts, limits: AgentLimits): number =>
  Math.min(limits.sshDeadMs, timeouts.heartbeatTimeoutMs ?? limits.sshDeadMs);

/** How often the agent probes the VM: several times before its silence becomes a verdict. */
export const probeIntervalMs = (timeouts: Timeouts): number =>
  Math.min(15_000, Math.max(500, limitOrDefaultMs(timeouts, 'heartbeatTimeoutMs') / 8));

/** A VM beat that is younger than this proves that the VM lives. */
export const vmBeatFreshMs = (timeouts: Timeouts): number => limitOrDefaultMs(timeouts, 'heartbeatTimeoutMs') / 2;

/** A hung request must not delay the next beat until the controller's deadline has passed. */
export const beatRequestMs = (timeouts: Timeouts, limits: AgentLimits): number =>
  Math.min(limits.requestMs, Math.max(1_000, limitOrDefaultMs(timeouts, 'workerTimeoutMs') / 8));

/**
 * How often the journal notes an accepted beat. After a crash the attempt is lost this much earlier at most.
 */
export const contactNoteMs = (timeouts: Timeouts): number => limitOrDefaultMs(timeouts, 'workerTimeoutMs') / 8;

/** How long after the last look at the log its age is still known. */
export const logFreshMs = (timeouts: Timeouts): number =>
  Math.min(10_000, limitOrDefaultMs(timeouts, 'noOutputTimeoutMs') / 4);
