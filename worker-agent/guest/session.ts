/**
 * Commands in one attempt's VM, over a connection that may break: the build never notices when it is replaced.
 *
 * Invariant: a command is given up only when the attempt is over. Every command that runs through here is safe to repeat (guest-commands.ts
 * makes it so), since an answer may be lost after the deed. SSH that stays dead while the VM beats ends the attempt; if the VM is silent too,
 * its own deadline is the better verdict.
 */

import { pause } from '../../client/retry.ts';
import { AttemptOver, failed } from '../ending.ts';
import { awakeMs } from '../mac/running-clock.ts';
import type { Vm } from '../vm/vm.ts';
import { echoAlive, type GuestCommand } from './commands.ts';
import { type ExecOptions, type ExecResult, type Ssh, SshError } from './ssh.ts';

const RECONNECT_MS = 10_000;
const RECONNECT_PAUSE_MS = 500;
const ECHO_MS = 5_000;

export interface GuestOptions {
  vm: Pick<Vm, 'ssh' | 'reconnect'>;
  deadLimitMs: number;
  /** Whether the controller has lately heard from the VM. */
  vmBeats: () => boolean;
  onReconnected: (deadMs: number) => void;
  /** The attempt's own end. */
  signal: AbortSignal;
}

export class Guest {
  readonly #options: GuestOptions;
  #deadSinceMs: number | null = null;
  #recovery: Promise<void> | null = null;

  constructor(options: GuestOptions) {
    this.#options = options;
  }

  /** Rejects with AttemptOver, the signal's reason, or SshError of kind timeout or overflow, which the command itself has earned. */
  exec(command: GuestCommand, options: Omit<ExecOptions, 'stdin'> & { stdin?: string | Buffer }): Promise<ExecResult> {
    return this.attempt((ssh, signal) => ssh.exec(command, { ...options, signal }));
  }

  /** Runs `use` again on a new connection for as often as the connection breaks under it. */
  async attempt<T>(use: (ssh: Ssh, signal: AbortSignal) => Promise<T>): Promise<T> {
    const { vm, signal } = this.#options;
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
        if (error.kind === 'timeout' && (await answers(ssh, signal))) throw error;
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
    const { vm, signal, deadLimitMs, vmBeats, onReconnected } = this.#options;
    for (;;) {
      if (vm.ssh !== broken && !vm.ssh.signal.aborted) return;
      try {
        await vm.reconnect({ timeoutMs: RECONNECT_MS, signal });
        onReconnected(Math.round(awakeMs() - deadSinceMs));
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof SshError)) throw error;
        const deadMs = awakeMs() - deadSinceMs;
        if (deadMs >= deadLimitMs && vmBeats())
          throw failed(
            'transfer_failed',
            'ssh',
            `SSH has been dead for ${Math.round(deadMs / 1000)} s while the VM beats: ${error.message}`,
          );
      }
      await pause(RECONNECT_PAUSE_MS, signal);
    }
  }
}

async function answers(ssh: Ssh, signal: AbortSignal): Promise<boolean> {
  try {
    return (await ssh.exec(echoAlive(), { timeoutMs: ECHO_MS, signal })).exitCode === 0;
  } catch {
    return false;
  }
}

/** What the command printed; any other exit code than 0 ends the attempt as a transfer that failed at this step. */
export async function expectSuccess(step: string, result: Promise<ExecResult>): Promise<ExecResult> {
  try {
    const { exitCode, exitSignal, stderr } = await result;
    if (exitCode === 0) return await result;
    const how = exitCode === null ? `signal ${exitSignal}` : `exit code ${exitCode}`;
    throw failed('transfer_failed', step, `${how}: ${stderr.trim().slice(-500)}`);
  } catch (error) {
    if (error instanceof AttemptOver || !(error instanceof SshError)) throw error;
    throw failed('transfer_failed', step, error.message);
  }
}
