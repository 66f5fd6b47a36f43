/** What an agent reports of its attempt, turned into events of the build. */

import type { Report } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { type Applied, addEvidence, apply, findAttempt, findBuild } from '../builds/apply.ts';
import { addToHistory } from '../builds/phase-history.ts';
import { sha256Hex } from '../bytes.ts';
import { refusal } from '../refusals.ts';

export async function report(
  env: Env,
  buildId: string,
  caller: AttemptCaller,
  said: Report,
  now: number,
): Promise<Applied> {
  const refused = await refuseStranger(env, buildId, caller, said.attempt);
  if (refused) return refused;
  const { attempt } = said;
  switch (said.type) {
    case 'start':
      return apply(env, buildId, { type: 'start', attempt }, now);
    case 'succeed': {
      const { artifacts, log, quietMs, history } = said;
      const reportHash = await hashOf(said);
      const applied = await apply(env, buildId, { type: 'succeed', attempt, artifacts, log, quietMs, reportHash }, now);
      if (applied.ok && applied.changed && history) await addToHistory(env, applied.build, history, now);
      return applied;
    }
    case 'fail': {
      const { artifacts, log, verdict, step, message, exitCode, evidence, explained } = said;
      const failure = { verdict, step, message, exitCode, evidence, explained };
      return apply(
        env,
        buildId,
        { type: 'fail', attempt, failure, artifacts, log, reportHash: await hashOf(said) },
        now,
      );
    }
    case 'evidence':
      return addEvidence(env, buildId, attempt, said, now);
  }
}

const hashOf = (said: Report) => sha256Hex(JSON.stringify(said));

/** A run token speaks for its own attempt; a worker's key for the attempts that this worker was given. */
async function refuseStranger(env: Env, buildId: string, caller: AttemptCaller, attempt: number) {
  if (caller.kind !== 'worker') {
    return caller.attempt === attempt
      ? null
      : refusal('forbidden', `attempt: the token is for attempt ${caller.attempt}`);
  }
  const row = await findAttempt(env, buildId, attempt);
  if (row) return row.workerId === caller.workerId ? null : refusal('forbidden', 'the attempt is another worker’s');
  const build = await findBuild(env, buildId);
  return refusal('not_found', build ? `the build has no attempt ${attempt}` : `there is no build ${buildId}`);
}
