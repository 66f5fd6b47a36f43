/**
 * Decides whether the VM of an attempt is kept after its end, and for how long. Pure.
 *
 * Invariant: what an assignment does not say means no. Neither the request nor the Mac alone keeps a VM.
 */
import type { AgentVerdict, Assignment } from '#contract';
import type { Ending } from '../ending.ts';
import type { Told } from './deliver.ts';

/** `why` says why a VM is not kept although the request asks for it. */
export type Wish = { keepMs: number } | { why: string };

/** After these nobody may look. */
const NOT_KEPT: Partial<Record<AgentVerdict, string>> = {
  worker_stopped: 'the agent was stopped',
  worker_lost: 'another Mac may have the build now',
  worker_restarted: 'it no longer runs',
  vm_exited: 'it has ended',
};

/**
 * Null if the attempt has succeeded or goes back, or if nobody has asked for it. Of an attempt that the
 * controller has ended itself, {@link whyNotAfter} must agree too.
 */
export function wishToKeep(
  ending: Ending,
  { keepMs = 0, trusted = false }: Pick<Assignment, 'keepMs' | 'trusted'>,
  keepVmMaxMs: number,
): Wish | null {
  if (ending.kind === 'succeeded' || keepMs <= 0) return null;
  if (ending.kind === 'failed' && ending.handBack !== undefined) return null;
  if (keepVmMaxMs <= 0) return { why: '`keepVmMaxMs` in the config of this Mac is 0' };
  if (!trusted) return { why: 'the build is not trusted' };
  const why = ending.kind === 'failed' ? NOT_KEPT[ending.verdict] : undefined;
  return why === undefined ? { keepMs: Math.min(keepMs, keepVmMaxMs) } : { why };
}

/**
 * Why no VM is kept of an attempt that the controller has ended itself, by what it has answered. Null if its
 * deadline has failed the build. An attempt that is followed by another one is no failure of the build.
 */
export function whyNotAfter(told: Told | null): string | null {
  if (!told) return 'the controller has not said how the attempt ended';
  if (told.verdict === 'cancelled') return 'the build was cancelled';
  return told.buildFailed ? null : 'the build is tried again';
}
