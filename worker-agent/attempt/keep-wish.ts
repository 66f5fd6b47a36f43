/**
 * Decides whether the VM of an attempt is kept after its end, and for how long. Pure.
 *
 * Invariant: a field that an assignment lacks means no. Neither the request nor the Mac alone keeps a VM.
 */
import type { AgentVerdict, Assignment } from '#contract';
import type { Ending } from '../ending.ts';
import type { Told } from './deliver.ts';

/** `why` says why a VM is not kept although the request asks for it. */
export type Wish = { keepMs: number } | { why: string };

/** The verdicts after which no VM is kept, and why. */
const NOT_KEPT: Partial<Record<AgentVerdict, string>> = {
  worker_stopped: 'the agent was stopped',
  worker_lost: 'another Mac may have the build now',
  worker_restarted: 'it no longer runs',
  vm_exited: 'it has ended',
};

/**
 * Null if the attempt has succeeded or is handed back, or if nobody has asked for the VM. If the controller
 * has ended the attempt itself, {@link whyNotAfter} must agree too.
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
 * Why the VM is not kept after the controller has ended the attempt itself, by the controller's answer. Null
 * if its deadline has failed the build. The build has not failed if another attempt follows.
 */
export function whyNotAfter(told: Told | null): string | null {
  if (!told) return 'the controller has not said how the attempt ended';
  if (told.verdict === 'cancelled') return 'the build was cancelled';
  return told.buildFailed ? null : 'the build is tried again';
}
