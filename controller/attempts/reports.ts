/** Turns the reports of an agent into events of the build, and answers how the attempt ended. */
import type { Outcome, Report } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { type Applied, addEvidence, apply } from '../builds/apply.ts';
import { findAttempt } from '../builds/rows.ts';
import { sha256Hex } from '../bytes.ts';
import { addToHistory } from '../phase-history/phase-history.ts';
import { writerOf } from './writers.ts';

export async function report(
  env: Env,
  buildId: string,
  caller: AttemptCaller,
  said: Report,
  now: number,
): Promise<Applied & { outcome?: Outcome | undefined }> {
  const purpose = said.type === 'evidence' ? 'evidence' : 'report';
  const writer = await writerOf(env, caller, buildId, said.attempt, purpose, now);
  if (!writer.ok) return writer;
  const applied = await applyReport(env, buildId, said, now);
  const runs = applied.ok && said.type === 'start';
  return { ...applied, outcome: runs ? undefined : await outcomeOf(env, buildId, said.attempt) };
}

async function applyReport(env: Env, buildId: string, said: Report, now: number): Promise<Applied> {
  const { attempt } = said;
  switch (said.type) {
    case 'start':
      return apply(env, buildId, { type: 'start', attempt }, now);
    case 'succeed': {
      const { artifacts, log, quietMs, history } = said;
      const reportHash = await hashOf(said);
      const applied = await apply(env, buildId, { type: 'succeed', attempt, artifacts, log, quietMs, reportHash }, now);
      if (applied.ok && applied.changed && applied.build.trusted && history)
        await addToHistory(env, applied.build, history, now);
      return applied;
    }
    case 'fail': {
      const { artifacts, log, verdict, step, message, exitCode, evidence, explained, tellingLines, handBack } = said;
      const failure = { verdict, handBack, step, message, exitCode, evidence, explained, tellingLines };
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

/** How the attempt has ended. Undefined while it runs. Its cause may follow only from later evidence. */
async function outcomeOf(env: Env, buildId: string, attempt: number): Promise<Outcome | undefined> {
  const row = await findAttempt(env, buildId, attempt);
  return row && row.endedAt !== null ? { verdict: row.verdict, step: row.verdictStep, cause: row.cause } : undefined;
}

const hashOf = (said: Report) => sha256Hex(JSON.stringify(said));
