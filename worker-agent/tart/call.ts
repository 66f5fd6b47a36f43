/**
 * Spawns tart: a command that answers, or a `tart run` that stays. No other module spawns tart.
 *
 * Invariant: every call ends, because tart answers or because its time limit is reached, and its outcome is a
 * value. A command on the terminal of a person has no limit: the person ends it. Only a `tart run` outlives
 * its call. It has a session of its own and writes to a file, so that its VM survives the agent's death and
 * Ctrl-C in the agent's terminal.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { awakeTimer } from '../../client/running-clock.ts';
import { asTartUser, type TartUser, tartUserOf, wrappersOf } from '../mac/run-as.ts';
import { BOOT_LIMITS } from '../time-limits.ts';
import { failure, failureOf, type TartFailure, type TartResult, type TartStep } from './answers.ts';

/**
 * How long each command may take. `delete` removes a whole disk. The time to transfer 60 GB is unknown, so
 * for `pull` and `push` this is the time without a new line of output. At 3 megabits a second one percent
 * takes 28 minutes. The other commands only change files.
 */
const LIMIT_MS = {
  version: 30_000,
  list: 30_000,
  get: 30_000,
  ip: 30_000,
  clone: BOOT_LIMITS.cloneMs,
  set: BOOT_LIMITS.setMs,
  run: 30_000,
  stop: 60_000,
  delete: 300_000,
  exec: 30_000,
  pull: 1_800_000,
  push: 3_600_000,
  fqn: 30_000,
} as const satisfies Record<TartStep, number>;

/** A process that was told to end is killed after this time. */
export const KILL_DELAY_MS = 2_000;
const OUTPUT_MAX_BYTES = 4 * 1024 * 1024;

export interface TartOptions {
  tartPath: string;
  /** The default is Tart's own: `$TART_HOME`, or `~/.tart`. */
  tartHome?: string | undefined;
  /** Added to the agent's own environment. */
  env?: Record<string, string> | undefined;
  limitsMs?: Partial<Record<TartStep, number>>;
  /** The account that tart runs as when the agent is root. Null: the agent's own. */
  user?: (TartUser & { commands?: { launchctl: string; sudo: string } }) | null;
}

/** The end of a tart that was neither late nor stopped. */
export interface TartEnd {
  /** Null if a signal has ended it. */
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Added to the limit of the step. */
  extraMs?: number;
  /** Replaces the limit of the step. */
  limitMs?: number | undefined;
  /** Added to the environment of this call. */
  env?: Record<string, string>;
  /** Gets each line of standard output as soon as it is there. The limit begins anew with each line. */
  onLine?: (line: string) => void;
}

export interface OnTerminal {
  /** Gets all output of the command. Without it the output goes to the terminal unchanged. */
  onOutput?: (bytes: Buffer) => void;
  signal?: AbortSignal;
}

export interface TartCall {
  /** The folder of all VMs: `$TART_HOME`. */
  readonly home: string;
  /** The programs that stand between the agent and tart, if another account runs tart. */
  readonly wrappers: readonly string[];
  /** Runs `tart ARGS` to its end. An exit code other than 0 is a failure. */
  call(step: TartStep, args: readonly string[], options?: CallOptions): Promise<TartResult<{ stdout: string }>>;
  /** Runs `tart ARGS` to its end. Any exit code is a success. */
  end(step: TartStep, args: readonly string[], options?: CallOptions): Promise<TartResult<TartEnd>>;
  /** Runs `tart ARGS` with the standard input of this process, for as long as a person likes. */
  onTerminal(
    step: TartStep,
    args: readonly string[],
    options?: OnTerminal,
  ): Promise<TartResult<{ exitCode: number | null }>>;
  /** Starts `tart ARGS` in a session of its own. All its output is appended to logFile. */
  detach(args: readonly string[], logFile: string): Promise<TartResult<{ pid: number; exit: Promise<number | null> }>>;
}

export function createTartCall({ tartPath, tartHome, env = {}, limitsMs, user = tartUserOf() }: TartOptions): TartCall {
  const home = tartHome ?? env.TART_HOME ?? process.env.TART_HOME ?? join(homedir(), '.tart');
  // Otherwise Tart deletes pulled images at a pull and at a clone. images/make-room.ts decides instead.
  const environment = { ...env, TART_HOME: home, TART_NO_AUTO_PRUNE: '1' };
  const limits: Record<TartStep, number> = { ...LIMIT_MS, ...limitsMs };
  const wordsOf = (args: readonly string[], more: Record<string, string> = {}): [string, ...string[]] =>
    user
      ? [...asTartUser(user, { PATH: process.env.PATH, ...environment, ...more }, user.commands), tartPath, ...args]
      : [tartPath, ...args];
  const cannotStart = (step: TartStep, code: string | undefined): TartFailure =>
    failure(step, 'no_tart', null, `${tartPath} cannot be started (${code ?? 'unknown error'})`);

  const tartCall: TartCall = {
    home,
    wrappers: user ? wrappersOf(user.commands) : [],

    async call(step, args, options) {
      const ended = await tartCall.end(step, args, options);
      if (!ended.ok) return ended;
      const { exitCode, stdout, stderr } = ended;
      return exitCode === 0 ? { ok: true, stdout } : failureOf(step, exitCode, stderr);
    },

    async end(step, args, { signal, extraMs = 0, limitMs: ownLimitMs, env: more = {}, onLine } = {}) {
      const limitMs = ownLimitMs ?? limits[step] + extraMs;
      const [file, ...words] = wordsOf(args, more);
      const late = new AbortController();
      // A tart that was killed may leave a child that holds its pipes. The call ends even then.
      const { promise: abandoned, resolve: abandon } = Promise.withResolvers<null>();
      const startTimers = () => [
        awakeTimer(limitMs, () => late.abort()),
        awakeTimer(limitMs + KILL_DELAY_MS * 2, () => abandon(null)),
      ];
      let timers = startTimers();
      const onAbort = () => timers.push(awakeTimer(KILL_DELAY_MS * 2, () => abandon(null)));
      signal?.addEventListener('abort', onAbort, { once: true });
      const child = execa(file, words, {
        reject: false,
        stdin: 'ignore',
        cancelSignal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
        forceKillAfterDelay: KILL_DELAY_MS,
        env: { ...environment, ...more },
        maxBuffer: OUTPUT_MAX_BYTES,
      });
      if (onLine)
        createInterface({ input: child.stdout }).on('line', (line) => {
          if (late.signal.aborted || signal?.aborted) return;
          for (const clear of timers) clear();
          timers = startTimers();
          onLine(line);
        });
      const result = await Promise.race([child, abandoned]);
      if (result === null) {
        // Neither the pipes nor the process keep the agent alive when it stops.
        child.stdout.destroy();
        child.stderr.destroy();
        child.unref();
      }
      for (const clear of timers) clear();
      signal?.removeEventListener('abort', onAbort);
      if (late.signal.aborted && (result === null || result.isCanceled)) {
        const what = onLine ? 'printed nothing for' : 'did not end within';
        return failure(step, 'timeout', null, `tart ${step} ${what} ${limitMs / 1000} s`);
      }
      if (result === null || result.isCanceled)
        return failure(step, 'aborted', null, `the agent stopped tart ${step} before it had ended`);
      if (result.isMaxBuffer)
        return failure(step, 'garbage', null, `tart ${step} printed more than ${OUTPUT_MAX_BYTES} bytes`);
      const { exitCode = null, stdout, stderr } = result;
      if (exitCode === null && result.signal === undefined) return cannotStart(step, result.code);
      return { ok: true, exitCode, stdout, stderr };
    },

    async onTerminal(step, args, { onOutput, signal } = {}) {
      const [file, ...words] = wordsOf(args);
      const output = onOutput ? 'pipe' : 'inherit';
      const child = execa(file, words, {
        ...{ reject: false, buffer: false, env: environment, forceKillAfterDelay: KILL_DELAY_MS },
        ...{ stdin: 'inherit', stdout: output, stderr: output },
        ...(signal && { cancelSignal: signal }),
      });
      for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes: Buffer) => onOutput?.(bytes));
      const result = await child;
      const { exitCode = null } = result;
      if (exitCode === null && result.signal === undefined) return cannotStart(step, result.code);
      return { ok: true, exitCode };
    },

    async detach(args, logFile) {
      mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
      const log = openSync(logFile, 'a', 0o600);
      const [file, ...words] = wordsOf(args);
      // spawn and not execa, because execa is for commands that end: nothing may tie the VM to this process.
      const child = spawn(file, words, {
        detached: true,
        stdio: ['ignore', log, log],
        env: { ...process.env, ...environment },
      });
      closeSync(log);
      child.unref();
      const { pid } = child;
      if (pid === undefined) {
        const [{ code }] = (await once(child, 'error')) as [NodeJS.ErrnoException];
        return cannotStart('run', code);
      }
      return { ok: true, pid, exit: once(child, 'exit').then(([exitCode]) => exitCode as number | null) };
    },
  };
  return tartCall;
}
