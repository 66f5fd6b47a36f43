/** Asks a VM over SSH on behalf of a check, and reads its answers. */
import type { AgentConfig } from '../config.ts';
import { type GuestCommand, readClock } from '../guest/commands.ts';
import type { Tart } from '../tart/tart.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import type { Vm } from '../vm/vm.ts';

export interface VmCheckContext {
  tart: Tart;
  config: Pick<AgentConfig, 'controllerUrl' | 'vmControllerUrl' | 'vmHostAddress' | 'minFreeDiskGb'>;
  vm: Pick<Vm, 'name' | 'address' | 'ssh' | 'scripts'>;
}

type GuestVm = Pick<VmCheckContext['vm'], 'ssh'>;

/** The output of the command. Throws if the command failed. */
export async function ask(vm: GuestVm, command: GuestCommand, signal: AbortSignal): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.ssh.exec(command, { timeoutMs: GUEST_COMMAND_MS, signal });
  if (exitCode !== 0) throw new Error(`${command.name} failed in the VM: ${stderr.trim() || `exit code ${exitCode}`}`);
  return stdout.toString('utf8');
}

/** The output of the command. Null if it failed, for questions to which a failure means no. */
export async function askWhether(vm: GuestVm, command: GuestCommand, signal: AbortSignal): Promise<string | null> {
  const { exitCode, stdout } = await vm.ssh.exec(command, { timeoutMs: GUEST_COMMAND_MS, signal });
  return exitCode === 0 ? stdout.toString('utf8') : null;
}

/**
 * The offset of the guest's clock, positive when it is ahead. Compares with the middle of the question,
 * because the way there and back takes time.
 */
export async function clockOffsetMs(vm: GuestVm, signal: AbortSignal): Promise<number> {
  const before = Date.now();
  const answer = await ask(vm, readClock(), signal);
  const middle = (before + Date.now()) / 2;
  if (!/^\d+\n$/.test(answer)) throw new Error('date printed no time');
  // The guest prints whole seconds. On average half a second of the next one has passed.
  return Number(answer) * 1000 + 500 - middle;
}

/** Undefined for text that is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
