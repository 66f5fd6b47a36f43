/**
 * Tells the controller how an attempt ended, and brings the rest of its log there.
 *
 * Invariant: nothing is given up while the controller is merely away; each wait is bounded by the life of what is to be told. A refusal is an
 * answer. A result is told once in effect: the controller treats an exact repetition as the same report.
 */

import { join } from 'node:path';
import type { Report } from '#contract';
import type { Answer, Refused } from '../../client/answer.ts';
import { AttemptClient } from '../../client/attempt-client.ts';

import { untilAnswered, within } from '../../client/retry.ts';
import { uploadBlob } from '../../client/upload.ts';
import type { AttemptRun } from '../steps/context.ts';

/** A finished build should be complete when it is said to be finished; a slow log must not hold it. */
const LOG_FIRST_MS = 10_000;
const REUPLOADS_MAX = 3;

/** Rejects never but for a bug; `reported` in the journal says whether it is done. */
export async function deliver(run: AttemptRun): Promise<void> {
  const { journal, leave, limits } = run.context;
  if (journal.state.reported) return;
  const shipping = run.finishShipping(limits.aftermathMs);
  try {
    await within(shipping, LOG_FIRST_MS, leave);
    await tell(run, leave);
    // The attempt is over: beats would only be refused.
    await run.stopBeats();
    await shipping;
    leave.throwIfAborted();
    await journal.update({ reported: true });
  } catch (error) {
    if (!leave.aborted) throw error;
  }
}

async function tell(run: AttemptRun, signal: AbortSignal): Promise<void> {
  const { journal, emit } = run.context;
  for (let report = journal.state.result; report !== null; ) {
    const answer = await send(run, report, signal);
    const message = answer.ok ? `the build is ${answer.value.status}` : answer.message;
    emit({ type: 'reported', accepted: answer.ok, message: `${report.type}: ${message}` });
    report = answer.ok || answer.kind !== 'refused' ? null : instead(report, answer);
    if (report) await journal.update({ result: report });
  }
}

/** What is left to say after a refusal. Each kind of report leads to a lesser one, so that this ends. */
function instead(report: Report, { code, status, message }: Refused): Report | null {
  const { attempt } = report;
  const tooLate = status === 404 || status === 410 || code === 'stale_attempt' || code === 'illegal_transition';
  // A deadline was faster: what was seen of the VM still tells its cause.
  if (report.type === 'fail' && report.evidence && tooLate)
    return { type: 'evidence', attempt, evidence: report.evidence, log: report.log };
  if (report.type !== 'succeed' || tooLate || status === 401 || status === 403) return null;
  // Refused for what it says, not for when: the build must still end, with the reason why.
  const why = `the controller refused the result: ${message}`.slice(0, 4_000);
  return {
    type: 'fail',
    attempt,
    verdict: 'transfer_failed',
    step: 'report',
    message: why,
    artifacts: [],
    log: report.log,
  };
}

async function send(run: AttemptRun, report: Report, signal: AbortSignal): Promise<Answer<{ status: string }>> {
  const { buildId } = run.key;
  const { limits } = run.context;
  const giveUpAfterMs = report.type === 'evidence' ? limits.aftermathMs : limits.resultKeepMs;
  const options = { signal, giveUpAfterMs };
  let client = run.client;
  for (let uploads = 0; ; ) {
    const answer = await untilAnswered(() => client.report(buildId, report, signal), options);
    if (answer.ok || answer.kind === 'unreachable') return answer;
    const tokenIsDead = answer.status === 401 && client === run.client;
    // An outage may outlive the attempt's token; the worker's key speaks for it too.
    if (tokenIsDead) client = new AttemptClient(run.context.client.connection);
    else if (answer.code === 'artifact_not_stored' && uploads++ < REUPLOADS_MAX)
      await uploadAgain(run, report, options);
    else return answer;
  }
}

/** The files lie under the numbers of the order in which they are listed. */
async function uploadAgain(
  run: AttemptRun,
  report: Report,
  options: { signal: AbortSignal; giveUpAfterMs: number },
): Promise<void> {
  if (report.type !== 'succeed' && report.type !== 'fail') return;
  const { client, journal, emit } = run.context;
  for (const [index, { name, sha256, size }] of report.artifacts.entries()) {
    const path = join(journal.artifactsDir, String(index));
    const answer = await uploadBlob(client.connection, { sha256, path, sizeBytes: size }, options);
    if (!answer.ok) emit({ type: 'warning', message: `${name}: ${answer.message}` });
  }
}
