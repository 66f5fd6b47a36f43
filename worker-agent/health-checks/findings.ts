/**
 * A doctor's report on its way to the controller, which shows it with the worker and takes it for the end of quarantine.
 *
 * Invariant: whether it arrives changes nothing for the doctor.
 */

import { dirname, join } from 'node:path';
import type { Finding, WorkerState } from '#contract';
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { loadConfig } from '../config.ts';
import { StateFolder } from '../state/state-folder.ts';

import type { CheckResult } from './run-checks.ts';

const REQUEST_MS = 10_000;
/** As the contract has them. */
const FINDINGS_MAX = 64;
const TITLE_MAX = 200;
const TEXT_MAX = 2_000;

export const findingsOf = (checks: readonly CheckResult[]): Finding[] =>
  checks.slice(0, FINDINGS_MAX).map(({ id, title, status, blocking, detail, fix }) => ({
    ...{ id, status, blocking },
    title: title.slice(0, TITLE_MAX),
    detail: detail.slice(0, TEXT_MAX),
    fix: fix?.slice(0, TEXT_MAX) ?? null,
  }));

/** Answers with what the controller thinks of the worker now, or why it could not be told. Never rejects. */
export async function postFindings(
  configPath: string,
  checks: readonly CheckResult[],
): Promise<{ state: WorkerState } | { message: string }> {
  try {
    const { controllerUrl: url, apiKey: key } = await loadConfig(configPath);
    const client = new WorkerClient(new Connection({ url, key, requestMs: REQUEST_MS, transferStallMs: REQUEST_MS }));
    const me = await client.me();
    if (!me.ok) return { message: me.message };
    if (me.value.workerId === null) return { message: 'apiKey is not the key of a worker' };
    const { instanceId } = await new StateFolder(join(dirname(configPath), 'state')).instance();
    const answer = await client.findings(me.value.workerId, { instanceId, findings: findingsOf(checks) });
    return answer.ok ? { state: answer.value.state } : { message: answer.message };
  } catch (error) {
    return { message: (error as Error).message };
  }
}
