/**
 * Defines what a health check is, and runs a list of them: before each build, and for `doctor`.
 *
 * Invariant: runChecks answers with one result for each check, in the order of the list. A check that throws
 * or hangs becomes a failed result of its own.
 */

import { awakeMs, awakeTimer } from '../../client/running-clock.ts';
import { SshError } from '../guest/ssh-error.ts';

export type CheckStatus = 'pass' | 'warn' | 'fail' | 'skipped';

export interface CheckOutcome {
  status: CheckStatus;
  /** The observation of the check, with figures. */
  detail: string;
  /** Replaces the check's own advice. */
  fix?: string;
}

export interface HealthCheck<Context, Id extends string = string> {
  /** A key in logs, API and pages. It never changes its meaning. */
  id: Id;
  title: string;
  /** For docs/doctor.md: the trouble that this check prevents. */
  why?: string;
  /** A failure ends the attempt. In doctor's report it makes the worker unfit. */
  blocking: boolean;
  /**
   * Earlier checks of the list. While one of them fails, this check is skipped, so that one cause is one
   * finding.
   */
  dependsOn: readonly string[];
  timeoutMs: number;
  /** A try without an answer is repeated after this time, until timeoutMs has passed. */
  tryMs?: number;
  /** Advice for a person. */
  fix: string;
  run(context: Context, signal: AbortSignal): Promise<CheckOutcome>;
}

export interface CheckResult<Id extends string = string> {
  id: Id;
  title: string;
  blocking: boolean;
  status: CheckStatus;
  detail: string;
  /** Null for a check that has passed or was skipped. */
  fix: string | null;
  durationMs: number;
}

export const pass = (detail: string): CheckOutcome => ({ status: 'pass', detail });
export const warn = (detail: string, fix?: string): CheckOutcome => ({ status: 'warn', detail, fix });
export const fail = (detail: string, fix?: string): CheckOutcome => ({ status: 'fail', detail, fix });

/** Whether a version such as `22.13.1` is this one or a later one. */
export function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [first = 0, second = 0] = version.split('.').map(Number);
  return first > major || (first === major && second >= minor);
}

export interface RunOptions<Id extends string> {
  signal: AbortSignal;
  onResult?: (result: CheckResult<Id>) => void;
  /** Limits the time of each check further, if it is shorter than the check's own limit. */
  mostMs?: number;
  /** Results of earlier checks, on which these checks may depend. */
  earlier?: readonly CheckResult[];
}

/** Rejects only with the signal's reason. */
export async function runChecks<Context, Id extends string>(
  checks: readonly HealthCheck<Context, Id>[],
  context: Context,
  { signal, onResult, mostMs = Number.POSITIVE_INFINITY, earlier = [] }: RunOptions<Id>,
): Promise<CheckResult<Id>[]> {
  const results: CheckResult<Id>[] = [];
  for (const check of checks) {
    signal.throwIfAborted();
    const missing = [...earlier, ...results].find(
      ({ id, status }) => check.dependsOn.includes(id) && (status === 'fail' || status === 'skipped'),
    );
    const startedAt = performance.now();
    const outcome: CheckOutcome = missing
      ? { status: 'skipped', detail: `needs ${missing.id}` }
      : await runOne({ ...check, timeoutMs: Math.min(check.timeoutMs, mostMs) }, context, signal);
    signal.throwIfAborted();
    const { id, title, blocking } = check;
    const { status, detail } = outcome;
    const fix = status === 'warn' || status === 'fail' ? (outcome.fix ?? check.fix) : null;
    const durationMs = Math.round(performance.now() - startedAt);
    const result = { id, title, blocking, status, detail, fix, durationMs };
    results.push(result);
    onResult?.(result);
  }
  return results;
}

/** The first failure that forbids a build, if there is one. */
export const blockingFailure = <Id extends string>(results: readonly CheckResult<Id>[]): CheckResult<Id> | null =>
  results.find(({ status, blocking }) => status === 'fail' && blocking) ?? null;

async function runOne<Context>(
  check: HealthCheck<Context>,
  context: Context,
  signal: AbortSignal,
): Promise<CheckOutcome> {
  const { timeoutMs, tryMs = timeoutMs } = check;
  const endMs = awakeMs() + timeoutMs;
  for (;;) {
    const leftMs = endMs - awakeMs();
    const outcome = await runOnce(check, context, Math.min(tryMs, leftMs), signal);
    if (outcome !== 'late') return outcome;
    if (signal.aborted || leftMs <= tryMs) return fail(`no answer within ${timeoutMs / 1000} s`);
  }
}

async function runOnce<Context>(
  check: HealthCheck<Context>,
  context: Context,
  limitMs: number,
  signal: AbortSignal,
): Promise<CheckOutcome | 'late'> {
  const limit = new AbortController();
  const { promise: ended, resolve } = Promise.withResolvers<'late'>();
  const stop = () => {
    limit.abort(signal.aborted ? signal.reason : new Error(`no answer within ${limitMs / 1000} s`));
    resolve('late'); // also for a check that ignores its signal
  };
  const clearTimer = awakeTimer(limitMs, stop);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([check.run(context, limit.signal), ended]);
  } catch (error) {
    const slow = error instanceof SshError && error.kind === 'timeout';
    return slow || limit.signal.aborted ? 'late' : fail((error as Error).message);
  } finally {
    clearTimer();
    signal.removeEventListener('abort', stop);
  }
}
