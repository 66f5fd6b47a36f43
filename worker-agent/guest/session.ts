/**
 * Runs commands in one attempt's VM, over a connection that may break. The build does not notice when the
 * agent connects again.
 *
 * Invariant: a command ends without an answer only when the attempt is over. An answer may be lost after the
 * guest has done the work, so every command that runs through here is safe to repeat.
 *
 * If SSH fails for too long while the VM beats, the attempt ends here. If the VM is silent as well, the
 * controller's deadline for its beats gives the better verdict. A command that is slow while SSH answers runs
 * again, as long as SSH may fail: one slow answer ends nothing.
 */
import { pause } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import { failed } from '../ending.ts';
import { RECONNECT_MS } from '../time-limits.ts';
import { isEndedBySystem } from './answers.ts';
import { echoAlive, type GuestCommand } from './commands.ts';
import type { ExecOptions, ExecResult, Ssh } from './ssh.ts';
import type { Exited } from './ssh-channel.ts';
import { SshError } from './ssh-error.ts';

const RECONNECT_PAUSE_MS = 500;
const ECHO_MS = 5_000;
/** A guest that goes down ends its commands first. SSH is gone too after this time. */
const GOING_DOWN_MS = 5_000;

/** The members of a Vm that a session uses. */
export interface Reconnectable {
  /** The present connection. */
  readonly ssh: Ssh;
  /** Rejects with SshError when timeoutMs has passed. */
  reconnect(options: { timeoutMs: number; signal?: AbortSignal }): Promise<Ssh>;
}

export interface GuestOptions {
  vm: Reconnectable;
  deadLimitMs: number;
  /** How long a command is repeated that had no answer in its own time, although SSH answers. */
  slowLimitMs: number;
  /** Whether the controller has recently heard from the VM. */
  vmBeats: () => boolean;
  onReconnected: (deadMs: number) => void;
  /** Aborts at the attempt's own end. */
  signal: AbortSignal;
}

export class Guest {
  readonly #options: GuestOptions;
  #deadSinceMs: number | null = null;
  #recovery: Promise<void> | null = null;

  constructor(options: GuestOptions) {
    this.#options = options;
  }

  /**
   * Rejects with AttemptOver, with the signal's reason, or with an SshError of kind timeout or overflow:
   * these two are the command's own fault. A command that the guest's system has ended is run again for a
   * while, and a timeout comes only once `slowLimitMs` has passed.
   */
  async exec(
    command: GuestCommand,
    options: Omit<ExecOptions, 'stdin'> & { stdin?: string | Buffer },
  ): Promise<ExecResult> {
    for (let endedSinceMs: number | null = null; ; ) {
      const result = await this.attempt((ssh, signal) => ssh.exec(command, { ...options, signal }));
      if (!isEndedBySystem(result)) return result;
      endedSinceMs ??= awakeMs();
      if (awakeMs() - endedSinceMs >= GOING_DOWN_MS) return result;
      await pause(RECONNECT_PAUSE_MS, this.#options.signal);
    }
  }

  /** Runs `use`, and runs it again as often as the connection breaks, or as the answer is slow. */
  async attempt<T>(use: (ssh: Ssh, signal: AbortSignal) => Promise<T>): Promise<T> {
    const { vm, signal, slowLimitMs } = this.#options;
    const startedAtMs = awakeMs();
    for (;;) {
      signal.throwIfAborted();
      const { ssh } = vm;
      try {
        const result = await use(ssh, signal);
        this.#deadSinceMs = null;
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof SshError) || error.kind === 'overflow') throw error;
        if (error.kind === 'timeout' && (await answers(ssh, signal))) {
          if (awakeMs() - startedAtMs >= slowLimitMs) throw error;
          this.#deadSinceMs = null;
          continue;
        }
        signal.throwIfAborted();
        if (error.kind === 'timeout') this.#endIfDead(error);
        await this.#recover(ssh);
      }
    }
  }

  #recover(broken: Ssh): Promise<void> {
    this.#deadSinceMs ??= awakeMs();
    this.#recovery ??= this.#reconnect(broken, this.#deadSinceMs).finally(() => {
      this.#recovery = null;
    });
    return this.#recovery;
  }

  async #reconnect(broken: Ssh, deadSinceMs: number): Promise<void> {
    const { vm, signal, onReconnected } = this.#options;
    for (;;) {
      if (vm.ssh !== broken && !vm.ssh.signal.aborted) return;
      try {
        await vm.reconnect({ timeoutMs: RECONNECT_MS, signal });
        onReconnected(Math.round(awakeMs() - deadSinceMs));
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof SshError)) throw error;
        this.#endIfDead(error);
      }
      await pause(RECONNECT_PAUSE_MS, signal);
    }
  }

  /** Each new connection may be as useless as the one before, so the time counts from the first failure. */
  #endIfDead(error: SshError): void {
    const { deadLimitMs, vmBeats } = this.#options;
    const deadMs = this.#deadSinceMs === null ? 0 : awakeMs() - this.#deadSinceMs;
    if (this.#deadSinceMs === null || deadMs < deadLimitMs || !vmBeats()) return;
    const seconds = Math.round(deadMs / 1000);
    throw failed('transfer_failed', 'ssh', `SSH has failed for ${seconds} s while the VM beats: ${error.message}`);
  }
}

async function answers(ssh: Ssh, signal: AbortSignal): Promise<boolean> {
  try {
    return (await ssh.exec(echoAlive(), { timeoutMs: ECHO_MS, signal })).exitCode === 0;
  } catch {
    return false;
  }
}

/** Resolves for exit code 0 alone. Anything else ends the attempt with `transfer_failed` at this step. */
export async function expectSuccess(step: string, result: Promise<ExecResult>): Promise<ExecResult> {
  const exited = await expectAnswer(step, result);
  if (exited.exitCode === 0) return exited;
  throw failed('transfer_failed', step, howEnded(exited));
}

/** An answer that did not come ends the attempt with `transfer_failed` at this step. */
export async function expectAnswer<T>(step: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof SshError)) throw error;
    throw failed('transfer_failed', step, error.message);
  }
}

/** In a few words, how a command has ended, and the last that it printed on standard error. */
export function howEnded({ exitCode, exitSignal, stderr }: Exited): string {
  return `${exitCode === null ? `signal ${exitSignal}` : `exit code ${exitCode}`}: ${stderr.trim().slice(-500)}`;
}
