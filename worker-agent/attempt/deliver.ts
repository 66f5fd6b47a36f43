/**
 * Tells the controller how an attempt ended until it accepts or refuses, and ships the rest of the log.
 *
 * Invariant: while the controller is merely away, the agent tries again, up to the limit of each wait. A
 * refusal is an answer. A result that is told twice counts once, because the controller treats an exact
 * repetition as the same report.
 */
import type { Outcome, Report, ReportAnswer } from '#contract';
import type { Answer } from '../../client/answer.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { type RetryOptions, untilAnswered, within } from '../../client/retry.ts';
import type { LogShipping } from '../build-log/background-shipping.ts';
import { uploadAgain } from '../files/artifact-upload.ts';
import type { AttemptContext } from '../steps/context.ts';
import { lesserReport } from './result.ts';

/** The log should be complete when the result is told, but a slow log must not hold it for longer. */
const LOG_FIRST_MS = 10_000;
const REUPLOADS_MAX = 3;

/** How the attempt has ended, as the controller has said it. */
export interface Told extends Outcome {
  /** The build has failed with this attempt: no other one follows. */
  buildFailed: boolean;
}

/**
 * `reported` in the journal says whether it is done. `onTold` is called with how the attempt has ended,
 * if the controller has said it. Rejects only for a bug.
 */
export async function deliver(
  context: AttemptContext,
  shipping: LogShipping,
  onTold: (told: Told) => void = () => {},
): Promise<void> {
  const { journal, leave, limits, beats } = context;
  if (journal.state.reported) return;
  const shipped = shipping.finish(limits.aftermathMs);
  try {
    await within(shipped, LOG_FIRST_MS, leave);
    const told = await tell(context);
    if (told) onTold(told);
    // The attempt has ended for the controller too: it would refuse further beats.
    await beats[Symbol.asyncDispose]();
    await shipped;
    leave.throwIfAborted();
    await journal.update({ reported: true });
  } catch (error) {
    if (!leave.aborted) throw error;
  }
}

async function tell(context: AttemptContext): Promise<Told | undefined> {
  const { journal, key, emit } = context;
  let outcome: Outcome | undefined;
  let buildFailed = false;
  for (let report = journal.state.result; report !== null; ) {
    const answer = await send(context, report);
    const message = answer.ok
      ? `${report.type}; status of the build: ${answer.value.status}`
      : `${report.type}: ${answer.message}`;
    emit({ type: 'reported', accepted: answer.ok, message });
    // After a refused report the agent sends the evidence, and only this answer may name the cause.
    outcome = outcomeIn(answer) ?? outcome;
    if (answer.ok) buildFailed = answer.value.status === 'failed' && answer.value.attempt === key.attempt;
    report = answer.ok || answer.kind !== 'refused' ? null : lesserReport(report, answer);
    if (report) await journal.update({ result: report });
  }
  return outcome && { ...outcome, buildFailed };
}

function outcomeIn(answer: Answer<ReportAnswer>): Outcome | undefined {
  if (answer.ok) return answer.value.outcome;
  return answer.kind === 'refused' ? answer.outcome : undefined;
}

async function send(context: AttemptContext, report: Report): Promise<Answer<ReportAnswer>> {
  const { key, limits, workerClient, leave: signal } = context;
  const giveUpAfterMs = report.type === 'evidence' ? limits.aftermathMs : limits.resultKeepMs;
  const options = { signal, giveUpAfterMs };
  let { client } = context;
  for (let uploads = 0; ; ) {
    const answer = await untilAnswered(() => client.report(key.buildId, report, signal), options);
    if (answer.ok || answer.kind === 'unreachable') return answer;
    const tokenIsDead = answer.status === 401 && client === context.client;
    // An outage may outlive the token of the attempt. The worker's key may report too.
    if (tokenIsDead) client = new AttemptClient(workerClient.connection);
    else if (answer.code === 'artifact_not_stored' && uploads++ < REUPLOADS_MAX)
      await sendArtifactsAgain(context, report, options);
    else return answer;
  }
}

async function sendArtifactsAgain(
  { artifactStore, journal, emit }: AttemptContext,
  report: Report,
  options: RetryOptions,
): Promise<void> {
  if (report.type !== 'succeed' && report.type !== 'fail') return;
  await uploadAgain(report.artifacts, {
    ...options,
    store: artifactStore,
    dir: journal.artifactsDir,
    emit,
  });
}
