/**
 * Ends an attempt, in this order: look at the VM, write the result down, end the log, then tell the
 * controller and destroy the VM at the same time. A VM that is to be kept is cleaned, and destroyed later.
 *
 * Invariant: the result is on disk before anybody is told. The VM is destroyed whatever the controller says
 * and whatever fails here. The folder of the attempt is deleted when both are done, and a later run of the
 * agent may repeat each part.
 */
import { join } from 'node:path';
import { type Evidence, limitOrDefaultMs, type Report, type Timeouts } from '#contract';
import { jittered, pause, within } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import { LogShipping } from '../build-log/background-shipping.ts';
import { type FromLog, TOLD_LINES, TOLD_MAX_BYTES, toldBy } from '../build-log/failure-text.ts';
import { logTotal } from '../build-log/shipper.ts';
import { LogSpool } from '../build-log/spool.ts';
import { tailOf } from '../build-log/tail.ts';
import { vmControllerUrl } from '../config.ts';
import { type Ending, needsEvidence } from '../ending.ts';
import { Guest } from '../guest/session.ts';
import type { AttemptContext } from '../steps/context.ts';
import type { BuildLog } from '../steps/follow.ts';
import { CLOSE_MAX_MS, CLOSE_PAUSE_MS } from '../time-limits.ts';
import { destroyVm, type Vm } from '../vm/vm.ts';
import { deliver, type Told } from './deliver.ts';
import { gatherEvidence } from './evidence.ts';
import { keepWhileWanted, tellKeptEnd } from './keep.ts';
import { reportOf, resultEvent } from './result.ts';
import type { Reached } from './work.ts';

/** For the last lines of the log, out of the time for evidence. */
const CATCH_UP_MS = 5_000;
/** For all other probes at least, whatever the time for evidence is. */
const PROBES_MIN_MS = 1_000;
const REMOVE_PAUSE_MS = 5_000;

/** Without `ending` the result is journalled already. Without `reached` the agent gathers no evidence. */
export async function closeAttempt(
  context: AttemptContext,
  ending: Ending | null,
  reached: Reached | null,
): Promise<void> {
  const removeVm = vmRemoval(context);
  try {
    if (ending) {
      // Only once, because a VM that was destroyed to make room would be false evidence.
      const result = await decideResult(context, ending, reached);
      // Before the log is ended, because an agent that crashes in between must not go on with an attempt
      // whose log takes no more.
      await untilWritten(context, removeVm, () => context.journal.update({ phase: 'result_ready', result }));
      if (ending.kind === 'stopped') await context.beats[Symbol.asyncDispose]();
    }
    let log = reached?.log ?? null;
    const shipping = await untilWritten(context, removeVm, () => {
      const first = log;
      log = null; // the next try completes what this one leaves on the disk
      if (!first) reached?.log?.shipping.stop();
      return endLog(context, first);
    });
    await settle(context, { ending, reached, shipping, removeVm });
  } catch (error) {
    await removeVm();
    throw error;
  } finally {
    reached?.vm?.release();
    reached?.log?.shipping.stop();
    await reached?.log?.follower[Symbol.asyncDispose]();
  }
}

/**
 * Does a part that writes to the disk of this Mac, and repeats it for a while if it fails. Perhaps the VM has
 * filled the disk, so the VM is destroyed first, unless `removeVm` is null. If the agent gives up here, its
 * next run does this part.
 */
async function untilWritten<T>(
  { emit, leave }: AttemptContext,
  removeVm: (() => Promise<void>) | null,
  write: () => Promise<T>,
): Promise<T> {
  for (let endMs: number | null = null; ; ) {
    try {
      return await write();
    } catch (error) {
      leave.throwIfAborted();
      const why = (error as Error).message;
      if (endMs === null) {
        endMs = awakeMs() + CLOSE_MAX_MS;
        const then = removeVm ? 'its VM is destroyed, and the agent tries again' : 'the agent tries again';
        emit({ type: 'warning', message: `the end of the attempt cannot be written down (${why}); ${then}` });
      }
      if (removeVm) await within(removeVm(), CLOSE_PAUSE_MS, leave);
      if (awakeMs() >= endMs)
        throw new Error(
          `the end of the attempt could not be written down (${why}). Free the disk, and restart the agent, which goes on with it`,
        );
      await pause(jittered(CLOSE_PAUSE_MS), leave);
    }
  }
}

interface Closing {
  ending: Ending | null;
  reached: Reached | null;
  shipping: LogShipping;
  removeVm: VmRemoval;
}

/** Tells the controller, and destroys the VM once it is kept no longer. */
async function settle(context: AttemptContext, { ending, reached, shipping, removeVm }: Closing): Promise<void> {
  const { journal, emit, leave } = context;
  const told = Promise.withResolvers<Told | null>();
  const onTold = (answer: Told) => {
    told.resolve(answer);
    context.onOutcome?.(journal.state, answer);
  };
  // Null, because a kept VM must stay even if the journal cannot be written.
  const delivered = untilWritten(context, null, () => deliver(context, shipping, onTold));
  delivered.then(() => told.resolve(null), told.reject);
  told.promise.catch(() => {}); // without a VM to keep, nobody asks
  const keep = async () => {
    if (!removeVm.hasBegun()) await keepWhileWanted(context, ending, reached, told.promise);
  };
  const kept = keep().catch((error) => {
    if (!leave.aborted) emit({ type: 'warning', message: `the VM is not kept: ${error}` });
  });
  const removed = kept.then(async () => {
    reached?.vm?.release();
    await removeVm();
    if (leave.aborted || journal.state.vmGone) return;
    await untilWritten(context, null, () => journal.update({ vmGone: true }));
  });
  // Waits for both, so that neither goes on after this has ended.
  for (const part of await Promise.allSettled([removed, delivered])) if (part.status === 'rejected') throw part.reason;
  if (!journal.state.reported || !journal.state.vmGone) return;
  await tellKeptEnd(context);
  await untilWritten(context, null, () => journal.remove());
}

/** Gathers the evidence, and makes the report. */
async function decideResult(context: AttemptContext, ending: Ending, reached: Reached | null): Promise<Report | null> {
  const { key, emit, stop } = context;
  const fromLog = await readLog(context, ending);
  const mask = reached?.log?.mask ?? ((text: string) => text);
  const masked = ending.kind === 'succeeded' ? ending : { ...ending, message: mask(ending.message) };
  emit(resultEvent(masked, fromLog));
  // No evidence in two cases: the operator stops this agent, or this run of the agent has not worked on the
  // attempt.
  const look = reached !== null && needsEvidence(ending) && !stop.aborted;
  const { attempt } = key;
  try {
    const evidence = look ? maskEvidence(await lookAtVm(context, ending, reached), mask) : null;
    const log = reached?.log;
    const learned = { history: log?.progress.history(), quietMs: log?.follower.quietMs };
    return reportOf(masked, { attempt, evidence, fromLog, learned });
  } catch (error) {
    // A bug of the agent must not cost the result.
    emit({ type: 'warning', message: `what else is known of the attempt cannot be reported: ${error}` });
    return reportOf(masked, { attempt, evidence: null, fromLog: {}, learned: {} });
  }
}

/**
 * The explanation of a failed command by its log. If the journal has none, an older agent has read the log.
 * Then the log file is read, in which the secrets are masked. A log that cannot be read explains nothing.
 */
async function readLog({ journal }: AttemptContext, ending: Ending): Promise<FromLog> {
  if (ending.kind !== 'failed' || ending.verdict !== 'build_failed') return {};
  if (journal.state.fromLog) return journal.state.fromLog;
  const tail = { lines: TOLD_LINES, maxBytes: TOLD_MAX_BYTES };
  return toldBy(await tailOf(journal.logPath, tail).catch(() => []), []);
}

/** The output of programs may hold secrets. The end of the log and the processes are masked already. */
function maskEvidence(evidence: Evidence, mask: (text: string) => string): Evidence {
  const { runOutput, monitor } = evidence;
  return {
    ...evidence,
    ...(runOutput !== undefined && { runOutput: mask(runOutput) }),
    ...(monitor && { monitor: { ...monitor, log: mask(monitor.log) } }),
  };
}

async function lookAtVm(context: AttemptContext, ending: Ending, { vm, log }: Reached): Promise<Evidence> {
  const { tart, config, journal, limits, key, sleepWatch, contact } = context;
  const startedAt = performance.now();
  const partitioned = ending.kind === 'failed' && ending.verdict === 'worker_lost';
  const { vmName, monitorRestarts } = journal.state;
  const evidence = await gatherEvidence({
    tart,
    vmName,
    vm: partitioned ? null : vm,
    unreached: vm || partitioned ? null : { sshKind: ending.kind === 'failed' ? ending.sshKind : undefined },
    key,
    controllerUrl: vmControllerUrl(config),
    stateDir: journal.dir,
    logPath: journal.logPath,
    runLogPath: join(journal.dir, `${vmName}.log`),
    monitorRestarts,
    monitorStarted: journal.reached('monitor_started'),
    sleep: sleepWatch.longest(lastBeatsMs(journal.state.assignment.timeouts)),
    controllerUnreachableMs: contact.lostForMs(),
    limitMs: partitioned ? limits.partitionedEvidenceMs : Math.max(PROBES_MIN_MS, limits.evidenceMs - CATCH_UP_MS),
    maskCommand: log?.maskCommand ?? null,
  });
  const leftMs = limits.evidenceMs - (performance.now() - startedAt);
  if (vm && log && evidence.ssh?.answers && !partitioned) await catchUp(vm, log, Math.min(CATCH_UP_MS, leftMs));
  return evidence;
}

/** A silence of the VM or of this agent began within this time. */
const lastBeatsMs = (timeouts: Timeouts): number =>
  Math.max(limitOrDefaultMs(timeouts, 'heartbeatTimeoutMs'), limitOrDefaultMs(timeouts, 'workerTimeoutMs'));

/** Reads the last lines of the log over a new session, because that of the attempt has ended with it. */
async function catchUp(vm: Vm, { follower }: BuildLog, limitMs: number): Promise<void> {
  if (limitMs <= 0) return;
  const never = {
    deadLimitMs: Number.POSITIVE_INFINITY,
    slowLimitMs: 0,
    vmBeats: () => false,
    onReconnected: () => {},
  };
  const guest = new Guest({ vm, ...never, signal: AbortSignal.timeout(limitMs) });
  await follower.catchUp(guest).catch(() => {});
}

/**
 * Completes the file of the log, and notes its length and digest in the result. The controller compares them
 * with its own copy before it seals the log. Safe to repeat. Returns the LogShipping that ships the rest.
 */
async function endLog(
  { journal, key, client, emit, leave }: AttemptContext,
  log: BuildLog | null,
): Promise<LogShipping> {
  const path = journal.logPath;
  if (log) await log.follower.finish();
  else await LogSpool.finishLeft(path);
  const total = await logTotal(path);
  await log?.follower[Symbol.asyncDispose]();
  const { result } = journal.state;
  if (result && result.type !== 'start' && !result.log) await journal.update({ result: { ...result, log: total } });
  const shipping =
    log?.shipping ?? new LogShipping({ ...key, client, path, lengthBytes: () => total.length, emit, leave });
  shipping.end();
  return shipping;
}

type VmRemoval = (() => Promise<void>) & { hasBegun(): boolean };

/**
 * Returns a function that destroys the VM once, however often it is called. It tries until tart no longer
 * shows the VM, or until the agent leaves. The next run then goes on.
 */
function vmRemoval({ tart, journal, emit, leave }: AttemptContext): VmRemoval {
  const { vmName: name, vmGone } = journal.state;
  const remove = async () => {
    if (vmGone) return;
    for (;;) {
      const removed = await destroyVm({ tart, name, run: journal.state.run ?? undefined, signal: leave });
      if (removed.ok) return emit({ type: 'slot_free', vmName: name });
      if (leave.aborted) return;
      const why = `${removed.step}: ${removed.message}`;
      emit({ type: 'warning', message: `the VM could not be destroyed (${why}); the agent tries again` });
      await pause(jittered(REMOVE_PAUSE_MS), leave).catch(() => {});
    }
  };
  let removal: Promise<void> | null = null;
  return Object.assign(() => (removal ??= remove()), { hasBegun: () => removal !== null });
}
