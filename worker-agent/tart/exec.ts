/**
 * Runs a command in a VM by `tart exec`, which needs no network: Tart's guest agent in the VM answers. That
 * agent runs as the account that is logged in there.
 *
 * Invariant: the agent prefers SSH, and uses this only if SSH does not answer. Each call has a limit of its
 * own.
 */
import { failureOf, type TartFailureKind, type TartResult } from './answers.ts';
import type { OnTerminal, TartCall } from './call.ts';

export interface TartExec {
  /**
   * Resolves with any exit code of the command. If the guest agent does not answer, the kind is
   * `no_guest_agent`, after some 10 s, or `timeout`. If the VM does not run, it is `not_running` or
   * `not_found`. `onLine` is called as in TartCall: the limit begins anew with each line.
   */
  exec(
    name: string,
    words: readonly [string, ...string[]],
    options: { limitMs: number; signal?: AbortSignal | undefined; onLine?: (line: string) => void },
  ): Promise<TartResult<{ exitCode: number; stdout: string }>>;
  /**
   * The same on the terminal of this process, until the command ends. Without `terminal` the command gets the
   * standard input of this process, and no terminal.
   */
  execOnTerminal(
    name: string,
    words: readonly [string, ...string[]],
    options?: OnTerminal & { terminal?: boolean },
  ): Promise<TartResult<{ exitCode: number | null }>>;
}

/** Tart's own failures, which have exit codes that a command may have too. */
const OF_TART: readonly TartFailureKind[] = ['no_guest_agent', 'not_running', 'not_found'];
const TART_EXIT_CODES: readonly number[] = [1, 2];

export const createTartExec = ({ end, onTerminal }: TartCall): TartExec => ({
  async exec(name, words, options) {
    const ended = await end('exec', ['exec', name, ...words], options);
    if (!ended.ok) return ended;
    const { exitCode, stdout, stderr } = ended;
    const failed = failureOf('exec', exitCode, stderr);
    if (exitCode === null || (TART_EXIT_CODES.includes(exitCode) && OF_TART.includes(failed.kind))) return failed;
    return { ok: true, exitCode, stdout };
  },

  execOnTerminal: (name, words, { terminal = true, ...options } = {}) =>
    onTerminal('exec', ['exec', '-i', ...(terminal ? ['-t'] : []), name, ...words], options),
});
