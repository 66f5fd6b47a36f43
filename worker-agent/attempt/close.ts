/**
 * The end of an attempt: look at the VM, write the result down, then tell the controller and destroy the VM at the same time.
 *
 * Invariant: the result is on disk before anyone is told, and told until it is accepted or refused; the VM is destroyed whatever the
 * controller says; the folder goes when both are done. Each part may be repeated by a later run of the agent.
 */
import { join } from 'node:path';
import { type Evidence, type FailureExplanation, Report, type ReportInput } from '#contract';
import { jittered, pause } from '../../client/retry.ts';
import { explainFailure } from '../../log-reader/errors/explain-failure.ts';
import { logTotal } from '../build-log/shipper.ts';
import { LogSpool } from '../build-log/spool.ts';
import { tailOf } from '../build-log/tail.ts';
import { vmControllerUrl } from '../config.ts';
import { type Ending, needsEvidence } from '../ending.ts';
import { Guest } from '../guest/session.ts';
import type { AttemptRun } from '../steps/context.ts';
import { destroyVm } from '../vm/vm.ts';
import { deliver } from './deliver.ts';
import { gatherEvidence } from './evidence.ts';

const CATCH_UP_MS = 5_000;
const REMOVE_PAUSE_MS = 5_000;
const EXPLAINED_LINES = 400;
const EXPLAINED_MAX_BYTES = 256 * 1024;
const STEP_MAX = 64;
const MESSAGE_MAX = 4_000;

/** `ending` null: the journal holds the result already. */
export async function closeAttempt(
  run: AttemptRun,
  ending: Ending | null,
  { withEvidence }: { withEvidence: boolean },
): Promise<void> {
  const { journal, emit, stop } = run.context;
  if (ending) {
    // All of the log of a command that has ended is here already.
    const explained = await explain(run, ending);
    emit(resultEvent(ending, explained));
    // Nothing more is asked of a build whose host has been told to stop, nor of one that another host may be running by now.
    const look = withEvidence && needsEvidence(ending) && !stop.aborted;
    const evidence = look ? await lookAtVm(run, ending) : null;
    // Before the log is ended: an agent that crashes in between must not go on with an attempt whose log takes no more.
    await journal.update({ phase: 'result_ready', result: reportOf(run, ending, { evidence, explained }) });
    if (ending.kind === 'stopped') await run.stopBeats();
  }
  await endLog(run);
  run.vm?.release();
  await Promise.all([removeVm(run), deliver(run)]);
  if (journal.state.reported && journal.state.vmGone) await journal.remove();
}

async function lookAtVm(run: AttemptRun, ending: Ending): Promise<Evidence> {
  const { tart, config, journal, limits } = run.context;
  const startedAt = performance.now();
  // Another Mac may have this build in a moment: the VM must go first of all.
  const partitioned = ending.kind === 'failed' && ending.verdict === 'worker_lost';
  const evidence = await gatherEvidence({
    tart,
    vmName: journal.state.vmName,
    vm: partitioned ? null : run.vm,
    key: run.key,
    controllerUrl: vmControllerUrl(config),
    stateDir: journal.dir,
    logPath: journal.logPath,
    runLogPath: join(journal.dir, `${journal.state.vmName}.log`),
    monitorRestarts: journal.state.monitorRestarts,
    monitorStarted: journal.reached('monitor_started'),
    hostAsleepMs: run.sleepWatch.longestMs,
    controllerUnreachableMs: run.contact.lostForMs(),
    limitMs: partitioned ? 2_000 : Math.max(1_000, limits.evidenceMs - CATCH_UP_MS),
  });
  const leftMs = limits.evidenceMs - (performance.now() - startedAt);
  if (evidence.ssh?.answers && !partitioned) await catchUp(run, Math.min(CATCH_UP_MS, leftMs));
  return evidence;
}

/** The last lines before the end. */
async function catchUp(run: AttemptRun, limitMs: number): Promise<void> {
  const { vm, follower } = run;
  if (!vm || !follower || limitMs <= 0) return;
  const never = { deadLimitMs: Number.POSITIVE_INFINITY, vmBeats: () => false, onReconnected: () => {} };
  const guest = new Guest({ vm, ...never, signal: AbortSignal.timeout(limitMs) });
  await follower.catchUp(guest).catch(() => {});
}

/** From here on the file does not grow: its length and digest go into the result, which is told after this. Safe to repeat. */
async function endLog(run: AttemptRun): Promise<void> {
  const { journal } = run.context;
  if (run.follower) await run.follower.finish();
  else await LogSpool.finishLeft(journal.logPath);
  const log = await logTotal(journal.logPath);
  run.logBytes = log.length;
  await run.follower?.[Symbol.asyncDispose]();
  run.follower = null;
  const { result } = journal.state;
  if (result && result.type !== 'start' && !result.log) await journal.update({ result: { ...result, log } });
  run.shipper.end();
}

function reportOf(
  run: AttemptRun,
  ending: Ending,
  { evidence, explained }: { evidence: Evidence | null; explained?: FailureExplanation },
): Report | null {
  const { attempt } = run.key;
  if (ending.kind === 'stopped') return evidence && { type: 'evidence', attempt, evidence };
  if (ending.kind === 'succeeded') {
    const { progress } = run;
    const learned = { history: progress?.history(), quietMs: progress?.quietMs };
    return Report.parse({
      type: 'succeed',
      attempt,
      artifacts: ending.artifacts,
      ...learned,
    } satisfies ReportInput);
  }
  return Report.parse({
    type: 'fail',
    attempt,
    verdict: ending.verdict,
    step: ending.step?.slice(0, STEP_MAX),
    message: ending.message.slice(0, MESSAGE_MAX),
    exitCode: ending.exitCode,
    artifacts: ending.artifacts ?? [],
    evidence: evidence ?? undefined,
    explained,
  } satisfies ReportInput);
}

/** Until tart no longer shows it, or the agent leaves: the next run goes on with it. */
async function removeVm(run: AttemptRun): Promise<void> {
  const { tart, journal, emit, leave } = run.context;
  const { vmName, run: tartRun, vmGone } = journal.state;
  if (vmGone) return;
  try {
    for (;;) {
      const removed = await destroyVm({ tart, name: vmName, run: tartRun ?? undefined, signal: leave });
      if (removed.ok) break;
      leave.throwIfAborted();
      emit({
        type: 'warning',
        message: `the VM could not be destroyed (${removed.step}: ${removed.message}); trying again`,
      });
      await pause(jittered(REMOVE_PAUSE_MS), leave);
    }
    await journal.update({ vmGone: true });
    emit({ type: 'slot_free', vmName });
  } catch (error) {
    if (!leave.aborted) throw error;
  }
}

/** What the end of the log tells of a failed command. Of a log that cannot be read: nothing. */
async function explain(run: AttemptRun, ending: Ending): Promise<FailureExplanation | undefined> {
  if (ending.kind !== 'failed' || ending.verdict !== 'build_failed') return undefined;
  const tail = { lines: EXPLAINED_LINES, maxBytes: EXPLAINED_MAX_BYTES };
  const lines = await tailOf(run.context.journal.logPath, tail).catch(() => []);
  return explainFailure(lines) ?? undefined;
}

function resultEvent(ending: Ending, explained: FailureExplanation | undefined) {
  if (ending.kind === 'succeeded') return { type: 'result', outcome: 'succeeded' } as const;
  if (ending.kind === 'stopped') return { type: 'result', outcome: 'stopped', message: ending.message } as const;
  const { verdict, step, message, exitCode } = ending;
  return { type: 'result', outcome: 'failed', verdict, step, message, exitCode, explained } as const;
}
