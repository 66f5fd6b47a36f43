/**
 * Decides whether the VM of an attempt is kept after its end, and for how long. Pure.
 *
 * Invariant: what an assignment does not say means no. Neither the request nor the Mac alone keeps a VM.
 */
import type { AgentVerdict, Assignment } from '#contract';
import type { Ending } from '../ending.ts';

/** `why` says why a VM is not kept although the request asks for it. */
export type Wish = { keepMs: number } | { why: string };

/** After these nobody may look. */
const NOT_KEPT: Partial<Record<AgentVerdict, string>> = {
  worker_stopped: 'the agent was stopped',
  worker_lost: 'another Mac may have the build now',
  worker_restarted: 'it no longer runs',
  vm_exited: 'it has ended',
};

/** Null if the attempt has not failed, or if nobody has asked for it. */
export function wishToKeep(
  ending: Ending,
  { keepMs = 0, trusted = false }: Pick<Assignment, 'keepMs' | 'trusted'>,
  keepVmMaxMs: number,
): Wish | null {
  if (ending.kind !== 'failed' || ending.handBack !== undefined || keepMs <= 0) return null;
  if (keepVmMaxMs <= 0) return { why: '`keepVmMaxMs` in the config of this Mac is 0' };
  if (!trusted) return { why: 'the build is not trusted' };
  const why = NOT_KEPT[ending.verdict];
  return why === undefined ? { keepMs: Math.min(keepMs, keepVmMaxMs) } : { why };
}
