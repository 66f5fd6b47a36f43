/**
 * What a health check is, and the one runner of them all: before each build, and in `doctor`.
 *
 * Invariant: runChecks answers with one result for each check, in order, whatever the checks do. One that throws or hangs is its own finding.
 */
import { awakeTimer } from '../mac/running-clock.ts';

export type CheckStatus = 'pass' | 'warn' | 'fail' | 'skipped';

export interface CheckOutcome {
  status: CheckStatus;
  /** What was seen, with figures. */
  detail: string;
  /** Instead of the check's own advice. */
  fix?: string;
}

export interface HealthCheck<Context, Id extends string = string> {
  /** Stable key in logs, API and pages. Never reused. */
  id: Id;
  title: string;
  /** For docs/doctor.md: what goes wrong without it. */
  why?: string;
  /** A failure ends the attempt; in doctor, it makes the worker unfit. */
  blocking: boolean;
  /** Checks before this one in the list; it is skipped while any of them is not passed, so that one cause shows as one finding. */
  dependsOn: readonly string[];
  timeoutMs: number;
  /** What to do about it. */
  fix: string;
  run(context: Context, signal: AbortSignal): Promise<CheckOutcome>;
}

export interface CheckResult<Id extends string = string> {
  id: Id;
  title: string;
  blocking: boolean;
  status: CheckStatus;
  detail: string;
  /** Only where there is something to do. */
  fix: string | null;
  durationMs: number;
}

export const pass = (detail: string): CheckOutcome => ({ status: 'pass', detail });
export const warn = (detail: string, fix?: string): CheckOutcome => ({ status: 'warn', detail, fix });
export const fail = (detail: string, fix?: string): CheckOutcome => ({ status: 'fail', detail, fix });

/** Rejects only with the signal's reason. */
export async function runChecks<Context, Id extends string>(
  checks: readonly HealthCheck<Context, Id>[],
  context: Context,
  { signal, onResult }: { signal: AbortSignal; onResult?: (result: CheckResult<Id>) => void },
): Promise<CheckResult<Id>[]> {
  const results: CheckResult<Id>[] = [];
  for (const check of checks) {
    signal.throwIfAborted();
    const missing = results.find(
      ({ id, status }) => check.dependsOn.includes(id) && (status === 'fail' || status === 'skipped'),
    );
    const startedAt = performance.now();
    const outcome: CheckOutcome = missing
      ? { status: 'skipped', detail: `needs ${missing.id}` }
      : await runOne(check, context, signal);
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

/** The first failure that forbids a build, if any. */
export const blockingFailure = <Id extends string>(results: readonly CheckResult<Id>[]): CheckResult<Id> | null =>
  results.find(({ status, blocking }) => status === 'fail' && blocking) ?? null;

async function runOne<Context>(
  check: HealthCheck<Context>,
  context: Context,
  signal: AbortSignal,
): Promise<CheckOutcome> {
  const limit = new AbortController();
  const late = `no answer within ${check.timeoutMs / 1000} s`;
  const { promise: ended, resolve } = Promise.withResolvers<CheckOutcome>();
  const give = () => {
    limit.abort(signal.aborted ? signal.reason : new Error(late));
    resolve(fail(late)); // also for a check that does not listen to its signal
  };
  const clearTimer = awakeTimer(check.timeoutMs, give);
  signal.addEventListener('abort', give, { once: true });
  try {
    return await Promise.race([check.run(context, limit.signal), ended]);
  } catch (error) {
    return fail(limit.signal.aborted ? late : (error as Error).message);
  } finally {
    clearTimer();
    signal.removeEventListener('abort', give);
  }
}
