/**
 * Sends doctor's report to the controller, which shows it with the worker. A report without a blocking
 * failure ends quarantine.
 *
 * Invariant: doctor works the same whether or not its report arrives.
 */
import { dirname, join } from 'node:path';
import {
  FINDING_ID_MAX,
  FINDING_TEXT_MAX,
  FINDING_TITLE_MAX,
  FINDINGS_MAX,
  type Finding,
  type WorkerState,
} from '#contract';
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { loadConfig } from '../config.ts';
import { NOT_OF_A_WORKER } from '../config-findings.ts';
import { StateFolder } from '../state/state-folder.ts';
import { REQUEST_MS } from '../time-limits.ts';
import { blockingFailure, type CheckResult } from './run-checks.ts';

export const findingsOf = (checks: readonly CheckResult[]): Finding[] =>
  mostTelling(checks).map(({ id, title, status, blocking, detail, fix }) => ({
    ...{ id: id.slice(0, FINDING_ID_MAX), status, blocking },
    title: title.slice(0, FINDING_TITLE_MAX),
    detail: detail.slice(0, FINDING_TEXT_MAX),
    fix: fix?.slice(0, FINDING_TEXT_MAX) ?? null,
  }));

/** The checks of the report, FINDINGS_MAX at most. Leaves out checks that passed first. */
function mostTelling(checks: readonly CheckResult[]): CheckResult[] {
  const ordered = [...checks].sort((a, b) => Number(a.status === 'pass') - Number(b.status === 'pass'));
  const told = new Set(ordered.slice(0, FINDINGS_MAX));
  return checks.filter((check) => told.has(check));
}

/**
 * False if no clone was seen to start and nothing else is wrong: then it is unknown whether builds would run.
 */
export const isTelling = (checks: readonly CheckResult[]): boolean =>
  blockingFailure(checks) !== null ||
  checks.some(({ id, status }) => status === 'pass' && (id === 'vm_start' || id.startsWith('vm_start@')));

/** Resolves with the worker's new state, or with the reason why the report was not sent. Never rejects. */
export async function postFindings(
  configPath: string,
  checks: readonly CheckResult[],
): Promise<{ state: WorkerState } | { message: string }> {
  try {
    const { controllerUrl: url, apiKey: key } = await loadConfig(configPath);
    const client = new WorkerClient(new Connection({ url, key, requestMs: REQUEST_MS, transferStallMs: REQUEST_MS }));
    const me = await client.me();
    if (!me.ok) return { message: me.message };
    if (me.value.workerId === null) return { message: NOT_OF_A_WORKER };
    const { instanceId } = await new StateFolder(join(dirname(configPath), 'state')).instance();
    const answer = await client.findings(me.value.workerId, { instanceId, findings: findingsOf(checks) });
    return answer.ok ? { state: answer.value.state } : { message: answer.message };
  } catch (error) {
    return { message: (error as Error).message };
  }
}
