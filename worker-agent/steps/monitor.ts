/**
 * Starts the monitor in the VM, waits until it is heard, and starts it again when it dies.
 *
 * Invariant: at most one monitor runs, and it is started again a bounded number of times: one that keeps dying is left to its deadline.
 */

import { pause } from '../../client/retry.ts';
import { vmControllerUrl } from '../config.ts';
import { AttemptOver, failed } from '../ending.ts';
import { monitorAlive, monitorLog, startMonitor } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import type { ExecResult } from '../guest/ssh.ts';
import { probeIntervalMs } from '../limits.ts';
import type { AttemptRun } from './context.ts';

const EXEC_MS = 30_000;
const FIRST_BEAT_MS = 11 * 60_000;

export const beginMonitor = async (run: AttemptRun, guest: Guest): Promise<void> =>
  void (await expectSuccess('monitor', start(run, guest)));

function start(run: AttemptRun, guest: Guest): Promise<ExecResult> {
  const { config, journal } = run.context;
  const { workerId, tokens, beatIntervalMs } = journal.state.assignment;
  const monitor = startMonitor({
    ...run.key,
    controllerUrl: vmControllerUrl(config),
    workerId,
    token: tokens.vm,
    intervalSeconds: Math.max(1, Math.round(beatIntervalMs / 1000)),
  });
  return guest.exec(monitor, { timeoutMs: EXEC_MS });
}

/** First the monitor's own word, since it is nearer; then the controller's, which counts. */
export async function firstHeartbeat(run: AttemptRun, guest: Guest): Promise<void> {
  const { timeouts } = run.context.journal.state.assignment;
  // The controller's own deadline is the better verdict, and knows of its own absence; this one is for when that is off.
  const limit =
    timeouts.bootTimeoutMs === null ? AbortSignal.any([run.signal, AbortSignal.timeout(FIRST_BEAT_MS)]) : run.signal;
  try {
    const accepted = run.beats!.firstVmBeat(limit);
    accepted.catch(() => {});
    for (;;) {
      const { stdout } = await guest.exec(monitorLog(run.key, 4_096), { timeoutMs: EXEC_MS });
      if (stdout.includes('Heartbeat sent')) break;
      await pause(250, limit);
    }
    run.beats!.poke();
    await accepted;
  } catch (error) {
    if (!limit.aborted || run.signal.aborted) throw error;
    const { stdout } = await guest.exec(monitorLog(run.key, 1_000), { timeoutMs: EXEC_MS });
    throw failed(
      'health_check_failed',
      'monitor',
      `no beat of the VM was accepted; its monitor says: ${stdout.toString('utf8').trim()}`,
    );
  }
}

/** Probes from now until disposed. What it meets may end the attempt; it never throws. */
export function keepMonitorAlive(run: AttemptRun, guest: Guest): Disposable {
  const stopped = new AbortController();
  const signal = AbortSignal.any([run.signal, stopped.signal]);
  keep(run, guest, signal).catch((error) => {
    if (signal.aborted) return;
    if (error instanceof AttemptOver) run.end(error);
    else
      run.context.emit({
        type: 'warning',
        message: `the monitor is not watched any more: ${(error as Error).message}`,
      });
  });
  return { [Symbol.dispose]: () => stopped.abort() };
}

async function keep(run: AttemptRun, guest: Guest, signal: AbortSignal): Promise<void> {
  const { journal, emit, limits } = run.context;
  const intervalMs = probeIntervalMs(journal.state.assignment.timeouts);
  for (;;) {
    await pause(intervalMs, signal);
    const { exitCode } = await guest.exec(monitorAlive(run.key), { timeoutMs: EXEC_MS });
    // Asked again after the answer: a monitor that stops with the attempt is not a dead one.
    signal.throwIfAborted();
    if (exitCode === 0) continue;
    const restarts = journal.state.monitorRestarts;
    if (restarts >= limits.monitorRestartsMax) {
      emit({ type: 'warning', message: `the monitor has died ${restarts + 1} times and is not started again` });
      return;
    }
    await journal.update({ monitorRestarts: restarts + 1 });
    // Whatever kills the monitor may kill its start too: that is one more death, not the end of the build.
    const { exitCode: started } = await start(run, guest);
    const outcome = started === 0 ? 'was started again' : 'could not be started again';
    emit({
      type: 'warning',
      message: `the monitor had died and ${outcome} (${restarts + 1} of ${limits.monitorRestartsMax})`,
    });
  }
}
