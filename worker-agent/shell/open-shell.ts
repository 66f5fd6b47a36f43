/**
 * Opens a shell in a VM that is kept: over SSH with the key of the agent, or by `tart exec` if that key is
 * tied to vm-ssh-gate or SSH does not answer.
 *
 * Invariant: the output of the VM reaches the terminal only through the filter. The shell ends when the VM is
 * no longer kept.
 */
import type { AgentConfig } from '../config.ts';
import { CommandError } from '../exit-codes.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import { openShell, shellOnTerminalText, shellText } from '../guest/commands.ts';
import { askScripts } from '../guest/installation.ts';
import type { Ssh } from '../guest/ssh.ts';
import { SshError } from '../guest/ssh-error.ts';
import type { Tart } from '../tart/tart.ts';
import { TART_EXEC_MS } from '../time-limits.ts';
import { waitForSsh } from '../vm/connect.ts';
import type { OwnTerminal } from './own-terminal.ts';

const SSH_MS = 15_000;

export interface KeptVm {
  config: AgentConfig;
  tart: Tart;
  vmName: string;
  key: AttemptKey;
}

/** `ssh` is open already, and its key opens shells. */
export type Way = { kind: 'ssh'; ssh: Ssh } | { kind: 'exec' };

/** Rejects with CommandError if there is no way. */
export async function findWay(vm: KeptVm, signal: AbortSignal): Promise<Way> {
  const reached = await overSsh(vm, signal);
  if ('ssh' in reached) return { kind: 'ssh', ssh: reached.ssh };
  const { vmName, tart, key } = vm;
  const answer = await tart.exec(vmName, ['true'], { limitMs: TART_EXEC_MS, signal });
  signal.throwIfAborted();
  if (answer.ok) return { kind: 'exec' };
  if (reached.tied)
    throw new CommandError(
      `The SSH key of the agent is tied to vm-ssh-gate and opens no shell, and Tart's guest agent does not answer in the VM (${answer.message}). For the next time make the base image from a public image, which has the guest agent, or without --restrict-key`,
    );
  throw new CommandError(
    `The VM answers neither over SSH (${reached.message}) nor through Tart's guest agent (${answer.message}). \`expo-worker release ${key.buildId}\` ends it`,
  );
}

async function overSsh(
  { config, tart, vmName }: KeptVm,
  signal: AbortSignal,
): Promise<{ ssh: Ssh } | { tied: boolean; message: string }> {
  const reached = await waitForSsh({
    ...{ tart, config, name: vmName, signal, timeoutMs: SSH_MS },
    scripts: { seen: null, version: null },
  });
  signal.throwIfAborted();
  if (!reached.ok) return { tied: false, message: reached.message };
  const { ssh } = reached;
  try {
    if (!(await askScripts(ssh, signal)).tied) return { ssh };
    ssh.close();
    return { tied: true, message: 'the key is tied to vm-ssh-gate' };
  } catch (error) {
    ssh.close();
    signal.throwIfAborted();
    return { tied: false, message: (error as Error).message };
  }
}

/** Resolves with the exit code of the shell, or with null if `over` has ended it. */
export async function runShell(vm: KeptVm, way: Way, terminal: OwnTerminal, over: AbortSignal): Promise<number | null> {
  const exitCode = await (way.kind === 'ssh' ? runOverSsh(way.ssh, vm, terminal, over) : runByExec(vm, terminal, over));
  return over.aborted ? null : exitCode;
}

async function runOverSsh(ssh: Ssh, { key }: KeptVm, terminal: OwnTerminal, over: AbortSignal): Promise<number> {
  over.addEventListener('abort', () => ssh.close(), { once: true });
  try {
    const shell = await ssh.shell(openShell(key), terminal.size);
    for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (bytes: Buffer) => terminal.write(bytes));
    terminal.onResize(() => terminal.size && shell.resize(terminal.size));
    process.stdin.pipe(shell.stdin);
    // Null means that a signal ended the shell.
    return (await shell.done) ?? 1;
  } catch (error) {
    if (over.aborted) return 1;
    if (!(error instanceof SshError)) throw error;
    throw new CommandError(`The connection to the VM broke: ${error.message}`);
  } finally {
    ssh.close();
    process.stdin.unpipe();
  }
}

/**
 * `tart exec -t` asks its own standard output for the size of the terminal. It crashes if that is a pipe,
 * which the filter needs. So the guest makes the terminal.
 */
async function runByExec({ tart, vmName, key }: KeptVm, terminal: OwnTerminal, over: AbortSignal): Promise<number> {
  const text = terminal.size ? shellOnTerminalText(key, terminal.size) : shellText(key);
  const ended = await tart.execOnTerminal(vmName, ['/bin/bash', '-c', text], {
    terminal: false,
    onOutput: (bytes) => terminal.write(bytes),
    signal: over,
  });
  if (ended.ok) return ended.exitCode ?? 1;
  if (over.aborted) return 1;
  throw new CommandError(ended.message);
}
