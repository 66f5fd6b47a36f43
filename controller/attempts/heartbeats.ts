/**
 * Takes a beat to the BuildDeadline of its build.
 *
 * A beat with an attempt's token needs no database, because the token names build, attempt and worker. For a
 * worker's key writers.ts asks D1 whose attempt it is.
 */
import type { Heartbeat } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { type Refusal, refusal } from '../refusals.ts';
import type { BeatResult } from './build-deadline.ts';
import { writerOf } from './writers.ts';

interface Beat {
  answer: { ok: true; nextMs: number; vmBeatAt: number | null } | Refusal;
  attempt: number | null;
  source: 'vm' | 'agent';
}

export async function beat(
  env: Env,
  buildId: string,
  caller: AttemptCaller,
  body: Heartbeat,
  now: number,
): Promise<Beat> {
  const source = caller.kind === 'vm' ? 'vm' : (body.source ?? (caller.kind === 'run' ? 'agent' : 'vm'));
  // A token beats only for its own attempt, even if the body names another. A worker's key beats for the
  // attempt that the body names.
  const named = caller.kind === 'worker' ? (body.attempt ?? null) : null;
  const writer = await writerOf(env, caller, buildId, named, 'beat', now);
  if (!writer.ok) return { answer: writer, attempt: body.attempt ?? null, source };
  const { attempt } = writer;
  // If the object cannot be reached, the platform is to blame. So the sender repeats the beat.
  const result = await env.DEADLINES.getByName(buildId)
    .beat(attempt, { ...body, source })
    .catch((): BeatResult => ({ kind: 'unavailable' }));
  if (result.kind !== 'accepted') return { answer: refusal(result.kind, REFUSALS[result.kind]), attempt, source };
  return { answer: { ok: true, nextMs: result.nextMs, vmBeatAt: result.vmBeatAt }, attempt, source };
}

const REFUSALS = {
  not_found: 'there is no such build',
  stale_attempt: 'a newer attempt of this build has begun',
  attempt_ended: 'the attempt has ended',
  unavailable: 'the controller cannot read the state of the build right now; send the beat again',
} as const;
