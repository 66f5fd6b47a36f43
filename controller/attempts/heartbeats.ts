/**
 * A beat on its way to its build's deadline object. With an attempt token it needs no database: the token says build,
 * attempt and worker. A worker's key has to be held against the row.
 */

import type { Heartbeat } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { findAttempt, findBuild } from '../builds/apply.ts';
import type { BeatResult } from './build-deadline.ts';

type Outcome = BeatResult | { kind: 'forbidden' };
interface Beat {
  outcome: Outcome;
  attempt: number | null;
  source: 'vm' | 'agent';
}

export async function beat(env: Env, buildId: string, caller: AttemptCaller, body: Heartbeat): Promise<Beat> {
  const source = caller.kind === 'vm' ? 'vm' : (body.source ?? (caller.kind === 'run' ? 'agent' : 'vm'));
  const said: Heartbeat = { ...body, source };
  const attempt =
    caller.kind === 'worker' ? await attemptOf(env, buildId, caller.workerId, body.attempt) : caller.attempt;
  if (typeof attempt !== 'number') return { outcome: attempt, attempt: body.attempt ?? null, source };
  // An object that cannot be reached is the platform's trouble, not the build's: the sender repeats the beat.
  const outcome = await env.DEADLINES.getByName(buildId)
    .beat(attempt, said)
    .catch((): Outcome => ({ kind: 'unavailable' }));
  return { outcome, attempt, source };
}

/** The attempt that a worker's key beats for: the one it names, else the current one. */
async function attemptOf(
  env: Env,
  buildId: string,
  workerId: string,
  named: number | undefined,
): Promise<number | Outcome> {
  const build = await findBuild(env, buildId);
  if (!build) return { kind: 'not_found' };
  const attempt = await findAttempt(env, buildId, named ?? build.attempt);
  return attempt?.workerId === workerId ? attempt.attempt : { kind: 'forbidden' };
}
