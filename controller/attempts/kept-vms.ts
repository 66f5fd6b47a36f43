/** Notes until when an agent keeps the VM of a failed attempt for a look. */
import type { KeptRequest } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { noteKept } from '../builds/writes-without-event.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { writerOf } from './writers.ts';

/**
 * Refused: `forbidden` if the request of the build does not allow it, and as writers.ts refuses an attempt of
 * others. A VM is shown as kept for at most the time that the request asks for, even if the clock of the Mac
 * is wrong.
 */
export async function keepVm(
  env: Env,
  buildId: string,
  caller: AttemptCaller,
  { attempt, until }: KeptRequest,
  now: number,
): Promise<{ ok: true; until: number | null } | Refusal> {
  const writer = await writerOf(env, caller, buildId, attempt, 'kept', now);
  if (!writer.ok) return writer;
  const { keepMs, trusted } = writer.build;
  if (until !== null && (keepMs === null || !trusted))
    return refusal('forbidden', 'until: the request of the build does not say that its VM may be kept');
  const bounded = until === null ? null : Math.min(Date.parse(until), now + (keepMs ?? 0));
  await noteKept(env, buildId, attempt, bounded);
  return { ok: true, until: bounded };
}
