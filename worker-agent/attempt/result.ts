/**
 * Says how an attempt ended: the report for the controller, and the event for people who watch. Pure.
 *
 * Invariant: a refused report leads to a lesser one or to none, so that the agent stops reporting at last.
 */
import {
  type AgentVerdict,
  type Evidence,
  type ProgressHistory,
  REPORT_MESSAGE_MAX,
  REPORT_STEP_MAX,
  Report,
  type ReportInput,
} from '#contract';
import type { Refused } from '../../client/answer.ts';
import type { FromLog } from '../build-log/failure-text.ts';
import type { Ending } from '../ending.ts';
import type { AttemptEvent } from '../events.ts';

/** The findings about an attempt beside its ending. */
export interface Findings {
  attempt: number;
  evidence: Evidence | null;
  fromLog: FromLog;
  /** For the next build of the project. */
  learned: { history?: ProgressHistory | undefined; quietMs?: number | undefined };
}

/**
 * Null if there is nothing to report: the controller has ended the attempt, and nobody has looked at the VM.
 */
export function reportOf(ending: Ending, { attempt, evidence, fromLog, learned }: Findings): Report | null {
  if (ending.kind === 'stopped') return evidence && { type: 'evidence', attempt, evidence };
  if (ending.kind === 'succeeded') {
    const report: ReportInput = { type: 'succeed', attempt, artifacts: ending.artifacts, ...learned };
    return Report.parse(report);
  }
  const report: ReportInput = {
    type: 'fail',
    attempt,
    verdict: ending.verdict,
    step: ending.step?.slice(0, REPORT_STEP_MAX),
    message: ending.message.slice(0, REPORT_MESSAGE_MAX),
    exitCode: ending.exitCode,
    handBack: ending.handBack,
    artifacts: ending.artifacts ?? [],
    evidence: evidence ?? undefined,
    ...fromLog,
  };
  return Report.parse(report);
}

/** The verdicts of an older controller in place of newer ones, because the build must end there too. */
const FORMERLY: Partial<Record<AgentVerdict, AgentVerdict>> = {
  artifact_refused: 'artifact_missing',
  inputs_gone: 'transfer_failed',
  project_invalid: 'source_invalid',
};

/** The report to send once the controller has refused `report`. Null if nothing is left to say. */
export function lesserReport(report: Report, { code, status, message }: Refused): Report | null {
  const { attempt } = report;
  const tooLate = status === 404 || status === 410 || code === 'stale_attempt' || code === 'illegal_transition';
  // A deadline was faster. The evidence still tells its cause.
  if (report.type === 'fail' && report.evidence && tooLate)
    return { type: 'evidence', attempt, evidence: report.evidence, log: report.log };
  const former = report.type === 'fail' && code === 'invalid_request' ? FORMERLY[report.verdict] : undefined;
  if (report.type === 'fail' && former) return { ...report, verdict: former };
  if (report.type !== 'succeed' || tooLate || status === 401 || status === 403) return null;
  // The controller refuses the content of the result. The build must still end, and say why.
  return {
    type: 'fail',
    attempt,
    verdict: 'transfer_failed',
    step: 'report',
    message: `the controller refused the result: ${message}`.slice(0, REPORT_MESSAGE_MAX),
    artifacts: [],
    log: report.log,
  };
}

export function resultEvent(ending: Ending, { explained }: FromLog): AttemptEvent {
  if (ending.kind === 'succeeded') return { type: 'result', outcome: 'succeeded' };
  if (ending.kind === 'stopped') return { type: 'result', outcome: 'stopped', message: ending.message };
  const { verdict, step, message, exitCode, handBack } = ending;
  return { type: 'result', outcome: 'failed', verdict, step, message, exitCode, explained, handBack };
}
