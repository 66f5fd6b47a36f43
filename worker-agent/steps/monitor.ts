/**
 * Starts the monitor in the VM, waits until the controller has got its first beat, and restarts it when it
 * dies.
 *
 * Invariant: at most one monitor runs. It is restarted a limited number of times; after that the controller's
 * deadline for VM beats decides.
 */
import { pause } from '../../client/retry.ts';
import { vmControllerUrl } from '../config.ts';
import { AttemptOver, failed } from '../ending.ts';
import { monitorAlive, monitorLog, startMonitor } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import type { ExecResult } from '../guest/ssh.ts';
import { GUEST_COMMAND_MS, probeIntervalMs } from '../time-limits.ts';
import type { AttemptContext } from './context.ts';

/** A little more than the default of bootTimeout, which ends the attempt unless it is off. */
const FIRST_BEAT_MS = 11 * 60_000;
/**
 * Each look is a command over SSH. If the first beat is late, it waits for the controller, so looks become
 * rare.
 */
const LOG_POLL_MS = 250;
const LOG_POLL_LATER_MS = 2_000;
const LOG_POLLS_SOON = 20;
/** How much of the monitor's log we read: to find its first beat, and to show why there was none. */
const LOG_BYTES = 4_096;
const LOG_SHOWN_BYTES = 1_000;

export async function beginMonitor(context: AttemptContext, guest: Guest): Promise<void> {
  await expectSuccess('monitor', start(context, guest));
}

function start({ config, journal, key }: AttemptContext, guest: Guest): Promise<ExecResult> {
  const { workerId, tokens, beatIntervalMs } = journal.state.assignment;
  const monitor = startMonitor({
    ...key,
    controllerUrl: vmControllerUrl(config),
    workerId,
    token: tokens.vm,
    intervalSeconds: Math.max(1, Math.round(beatIntervalMs / 1000)),
  });
  return guest.exec(monitor, { timeoutMs: GUEST_COMMAND_MS });
}

/**
 * Resolves once the controller has accepted a VM beat. Polls the monitor's own log first, because that is
 * nearer than the controller. Then sends an agent beat at once, and the answer decides.
 */
export async function firstHeartbeat({ beats, journal, key, signal }: AttemptContext, guest: Guest): Promise<void> {
  const { timeouts } = journal.state.assignment;
  // With bootTimeout on, the controller's deadline gives the better verdict, because the controller knows
  // when it was away.
  const limit =
    timeouts.bootTimeoutMs === null ? AbortSignal.any([signal, AbortSignal.timeout(FIRST_BEAT_MS)]) : signal;
  const readLog = (maxBytes: number) => guest.exec(monitorLog(key, maxBytes), { timeoutMs: GUEST_COMMAND_MS });
  try {
    const accepted = beats.firstVmBeat(limit);
    accepted.catch(() => {}); // awaited below
    for (let polls = 0; !(await readLog(LOG_BYTES)).stdout.includes('Heartbeat sent'); polls++)
      await pause(polls < LOG_POLLS_SOON ? LOG_POLL_MS : LOG_POLL_LATER_MS, limit);
    beats.poke();
    await accepted;
  } catch (error) {
    if (!limit.aborted || signal.aborted) throw error;
    const { stdout } = await readLog(LOG_SHOWN_BYTES);
    const said = stdout.toString('utf8').trim();
    const message = `the controller accepted no beat of the VM within ${FIRST_BEAT_MS / 60_000} minutes; its monitor says: ${said}`;
    throw failed('health_check_failed', 'monitor', message);
  }
}

/**
 * Probes the monitor until disposed. A probe may end the attempt; nothing is thrown. A probe that fails in
 * any other way tells nothing about the monitor, so the next one decides.
 */
export function keepMonitorAlive(context: AttemptContext, guest: Guest): Disposable {
  const stopped = new AbortController();
  const signal = AbortSignal.any([context.signal, stopped.signal]);
  keep(context, guest, signal).catch((error) => {
    if (signal.aborted) return;
    if (error instanceof AttemptOver) return context.end(error);
    context.emit({ type: 'warning', message: (error as Error).message });
  });
  return { [Symbol.dispose]: () => stopped.abort() };
}

async function keep(context: AttemptContext, guest: Guest, signal: AbortSignal): Promise<void> {
  const intervalMs = probeIntervalMs(context.journal.state.assignment.timeouts);
  for (let watched = true; watched; ) {
    await pause(intervalMs, signal);
    try {
      watched = await probe(context, guest, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof AttemptOver) throw error;
      const message = `the monitor could not be looked at, and the agent tries again: ${(error as Error).message}`;
      context.emit({ type: 'warning', message });
    }
  }
}

/** Restarts the monitor if it is dead. False if it has died too often for that. */
async function probe(context: AttemptContext, guest: Guest, signal: AbortSignal): Promise<boolean> {
  const { journal, emit, limits, key } = context;
  const { exitCode } = await guest.exec(monitorAlive(key), { timeoutMs: GUEST_COMMAND_MS });
  // The attempt and its monitor may have ended while we asked.
  signal.throwIfAborted();
  if (exitCode === 0) return true;
  const restarts = journal.state.monitorRestarts + 1;
  const most = limits.monitorRestartsMax;
  if (restarts > most) {
    emit({ type: 'warning', message: `the monitor has died ${restarts} times and is not started again` });
    return false;
  }
  await journal.update({ monitorRestarts: restarts });
  // A process that kills the monitor may kill its start too. That counts as one more death, not as the end of
  // the build.
  const { exitCode: started } = await start(context, guest);
  const outcome = started === 0 ? 'was started again' : 'could not be started again';
  emit({ type: 'warning', message: `the monitor had died and ${outcome} (${restarts} of ${most})` });
  return true;
}
