/**
 * Holds the limits of the agent that are not the build's own, each with its reason, and computes those that follow
 * from a build's time-outs. A build with short time-outs is watched by short clocks.
 *
 * Invariant: a limit that two files need stands here, and nowhere else. Pure.
 */
import { AFTERMATH_MS, type Assignment, DEFAULT_TIMEOUTS, partitionGraceMs, type Timeouts } from '#contract';

/** One request to the controller, up to its answer. */
export const REQUEST_MS = 10_000;

/** One short command in a VM, such as a look at its disk. A VM that builds answers slowly. */
export const GUEST_COMMAND_MS = 30_000;

/** One try to connect again to a VM. */
export const RECONNECT_MS = 10_000;

/** A clock that is off by more makes certificates look invalid. */
export const CLOCK_TOLERANCE_MS = 30_000;

/** Figures that a test may replace. */
export const AGENT_LIMITS = {
  /** If no other worker can run the build, the controller may be away for this long. */
  outageMs: 30 * 60_000,
  /** If SSH fails for this long while the VM beats, the attempt ends. */
  sshDeadMs: 120_000,
  /** All evidence together, before the VM is destroyed. */
  evidenceMs: 15_000,
  /** How long the log of an ended attempt may still arrive. */
  aftermathMs: AFTERMATH_MS,
  /** The agent discards a result that nobody has accepted or refused for this long; its token has long expired. */
  resultKeepMs: 24 * 3_600_000,
  /** After the second signal: the time to tell the controller, and to remove the VM. */
  stopMs: 30_000,
  monitorRestartsMax: 3,
  /** A beat that failed or was refused is repeated after this time at the latest. */
  beatRepeatMs: 5_000,
  requestMs: REQUEST_MS,
  /** A transfer ends when nothing has moved for this long, however large it is. */
  transferStallMs: 60_000,
} as const;
export type AgentLimits = { [name in keyof typeof AGENT_LIMITS]: number };

export interface BootLimits {
  cloneMs: number;
  setMs: number;
  addressMs: number;
  sshMs: number;
}
/** A clone may copy a whole disk; `set` only changes a file. */
export const BOOT_LIMITS: BootLimits = { cloneMs: 300_000, setMs: 60_000, addressMs: 180_000, sshMs: 120_000 };

/** How long this attempt may go on without an accepted beat. */
export function contactLimitMs(
  { anotherAttemptPossible, timeouts }: Pick<Assignment, 'anotherAttemptPossible' | 'timeouts'>,
  limits: AgentLimits,
): number {
  // While workerTimeout is off, our silence leads to no other attempt. Otherwise this VM must be removed before the
  // build can be claimed again.
  if (!anotherAttemptPossible || timeouts.workerTimeoutMs === null) return limits.outageMs;
  return timeouts.workerTimeoutMs + partitionGraceMs(timeouts.workerTimeoutMs);
}

/**
 * Gives each step a share of the time to boot, so that a step that hangs ends the attempt under its own name before
 * bootTimeout ends it without one. The shares are more than the whole, because seldom more than one step is slow.
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

export const sshDeadLimitMs = (timeouts: Timeouts, limits: AgentLimits): number =>
  Math.min(limits.sshDeadMs, timeouts.heartbeatTimeoutMs ?? limits.sshDeadMs);

/** How often the agent looks at the VM: several times before its silence becomes a verdict. */
export const probeIntervalMs = (timeouts: Timeouts): number =>
  Math.min(15_000, Math.max(500, (timeouts.heartbeatTimeoutMs ?? DEFAULT_TIMEOUTS.heartbeatTimeoutMs) / 8));

/** A beat whose request hangs must be repeated before its own deadline has passed. */
export const beatRequestMs = (timeouts: Timeouts, limits: AgentLimits): number =>
  Math.min(limits.requestMs, Math.max(1_000, (timeouts.workerTimeoutMs ?? DEFAULT_TIMEOUTS.workerTimeoutMs) / 8));
