/**
 * Starts a `tart run`, tells whether it lives, waits for its end, says why it ended, and kills it.
 *
 * Invariant: a signal is sent only to the process that was started. A later process with the same pid has
 * another start time.
 */
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { jittered, pause } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import { type ProcessIdentity, processBelow, processStartTime, watchProcess } from '../mac/process-identity.ts';
import { failure, runFailureOf, type TartFailure, type TartResult } from './answers.ts';
import { KILL_DELAY_MS, type TartCall } from './call.ts';

/** A `tart run` process. The agent keeps it in its journal, so that it finds the VM again after a restart. */
export type TartRun = ProcessIdentity;

export interface TartRuns {
  /** Starts the VM detached; its output is appended to logFile. Does not tell whether the VM boots. */
  startRun(name: string, options: { logFile: string; args?: string[] }): Promise<TartResult<{ run: TartRun }>>;
  /**
   * Resolves when the process has ended. Gives the exit code only if startRun of this agent returned this
   * very run, not for a run that was read from a journal. Rejects only with the signal's reason.
   */
  waitForRunExit(run: TartRun, signal?: AbortSignal): Promise<{ exitCode: number | null }>;
  /** Says why `tart run` ended, from the end of its log. */
  explainRunExit(logFile: string, exitCode: number | null): Promise<TartFailure>;
}

/** How often the agent checks whether a process that is not its child has ended. */
const RUN_POLL_MS = 500;
const KILL_POLL_MS = 100;
/** How long sudo may take before it starts tart, because it asks the directory for the account. */
const WRAPPED_MS = 10_000;
const WRAPPED_POLL_MS = 50;
/** Each look starts `ps`, so the agent looks at a slow sudo less and less often. */
const WRAPPED_POLL_MAX_MS = 1_000;
const LOG_TAIL_BYTES = 8_192;

export function createTartRuns({ detach, wrappers }: TartCall): TartRuns & { killRun(run: TartRun): Promise<void> } {
  /**
   * The ends of the runs that this agent started, with their exit codes, as the system reports them. An end
   * is kept for as long as a caller holds the run, so a later caller gets it too.
   */
  const exits = new WeakMap<TartRun, Promise<number | null>>();
  const explainRunExit = async (logFile: string, exitCode: number | null) =>
    runFailureOf(exitCode, await readTail(logFile));

  /** A wrapper that is killed leaves its `tart run` behind, so the run is tart's own process. */
  const tartPid = async (startedPid: number, ended: AbortSignal): Promise<number> => {
    if (wrappers.length === 0) return startedPid;
    const untilMs = awakeMs() + WRAPPED_MS;
    for (let pauseMs = WRAPPED_POLL_MS; awakeMs() < untilMs && !ended.aborted; ) {
      const pid = await processBelow(startedPid, wrappers);
      if (pid) return pid;
      await pause(pauseMs, ended).catch(() => {});
      pauseMs = Math.min(1.5 * pauseMs, WRAPPED_POLL_MAX_MS);
    }
    return startedPid;
  };

  return {
    explainRunExit,

    async startRun(name, { logFile, args = [] }) {
      // The guest must reach neither the clipboard nor the loudspeaker of the Mac.
      const options = ['--no-graphics', '--no-audio', '--no-clipboard', ...args];
      const started = await detach(['run', name, ...options], logFile);
      if (!started.ok) return started;
      const { exit } = started;
      const ended = new AbortController();
      exit.finally(() => ended.abort());
      const pid = await tartPid(started.pid, ended.signal);
      const startTime = await processStartTime(pid);
      if (startTime === undefined && !ended.signal.aborted) {
        // A later agent could not tell this run from another process. sudo passes SIGTERM on to tart.
        try {
          process.kill(started.pid, 'SIGTERM');
        } catch {} // it has just ended
        const why = 'the Mac did not tell when the process of tart run had started, so the agent ended it';
        return failure('run', 'failed', null, why);
      }
      if (!startTime) return explainRunExit(logFile, await exit);
      const run = { pid, startTime };
      // A wrapper ends with tart, and with tart's exit code.
      exits.set(run, exit);
      return { ok: true, run };
    },

    async waitForRunExit(run, signal) {
      signal?.throwIfAborted();
      const exit = exits.get(run);
      if (exit) return { exitCode: await abortable(exit, signal) };
      // An earlier agent started it, so the system does not report its end to us. We poll.
      const watched = watchProcess(run);
      while (await watched.lives()) await pause(jittered(RUN_POLL_MS), signal);
      return { exitCode: null };
    },

    /** Waits a moment for a run that was told to stop, then kills it. */
    async killRun(run) {
      const untilMs = awakeMs() + KILL_DELAY_MS;
      const watched = watchProcess(run);
      while (await watched.lives()) {
        if (awakeMs() > untilMs) {
          if ((await processStartTime(run.pid)) !== run.startTime) return;
          // An older agent has journalled the wrapper.
          const pid = wrappers.length === 0 ? run.pid : await processBelow(run.pid, wrappers);
          if (pid === undefined) return; // if we killed only the wrapper, no agent could find tart any more
          try {
            process.kill(pid ?? run.pid, 'SIGKILL');
          } catch {}
          return;
        }
        await sleep(KILL_POLL_MS);
      }
    },
  };
}

/** Empty if the file cannot be read. */
async function readTail(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const start = Math.max(0, size - LOG_TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(LOG_TAIL_BYTES), 0, LOG_TAIL_BYTES, start);
    return buffer.toString('utf8', 0, bytesRead);
  } catch {
    return '';
  }
}

/** The promise's value, or the signal's reason as an error if the signal is first. */
function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
