/**
 * Every limit of the agent that is not the build's own, each with its reason. Those that a build's timeouts bound are computed here too, so
 * that a build with short timeouts is watched by short clocks.
 */
import { AFTERMATH_MS, type Assignment, partitionGraceMs, type Timeouts } from '#contract';
import { BOOT_LIMITS, type BootLimits } from './vm/vm.ts';

export const AGENT_LIMITS = {
  /** With nobody else to run the build, an outage of the controller is forgiven for this long. */
  outageMs: 30 * 60_000,
  /** SSH gone for this long while the VM beats ends the attempt. */
  sshDeadMs: 120_000,
  /** All probes together, before the VM is destroyed. */
  evidenceMs: 15_000,
  /** How long the log of an ended attempt may still arrive. */
  aftermathMs: AFTERMATH_MS,
  /** A result that nobody accepts or refuses is given up at last; far past the life of its token. */
  resultKeepMs: 24 * 3_600_000,
  /** After the second signal: to say so, and to take the VM down. */
  stopMs: 30_000,
  monitorRestartsMax: 3,
  /** A refused or failed beat is repeated no later than this. */
  beatRepeatMs: 5_000,
  requestMs: 10_000,
  /** A transfer is given up when nothing has moved for this long, however large it is. */
  transferStallMs: 60_000,
} as const;
export type AgentLimits = { [name in keyof typeof AGENT_LIMITS]: number };

/** How long this attempt may go on without an accepted beat. */
export function contactLimitMs(
  { anotherAttemptPossible, timeouts }: Pick<Assignment, 'anotherAttemptPossible' | 'timeouts'>,
  limits: AgentLimits,
): number {
  // With workerTimeout off no other attempt is made for our silence. Else this VM must be gone before the build is claimable again.
  if (!anotherAttemptPossible || timeouts.workerTimeoutMs === null) return limits.outageMs;
  return timeouts.workerTimeoutMs + partitionGraceMs(timeouts.workerTimeoutMs);
}

/**
 * Shares of the time to boot: a step that hangs ends the attempt under its own name, before bootTimeout ends it without one. Together they
 * are more than the whole: several that are slow are a slow boot.
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

/** How often the VM is probed: several times before its silence becomes a verdict. */
export const probeIntervalMs = (timeouts: Timeouts): number =>
  Math.min(15_000, Math.max(500, (timeouts.heartbeatTimeoutMs ?? 120_000) / 8));

/** A beat must not wait for a hung request until its own deadline has passed. */
export const beatRequestMs = (timeouts: Timeouts, limits: AgentLimits): number =>
  Math.min(limits.requestMs, Math.max(1_000, (timeouts.workerTimeoutMs ?? 120_000) / 8));
