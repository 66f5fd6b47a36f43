/**
 * Boots the VM of an attempt, or finds it after a restart of the agent, and opens a session in it.
 *
 * Invariant: the journal records `tart run` before any step waits for the VM. From then on the end of the VM
 * ends the attempt.
 */
import { AttemptOver, failed } from '../ending.ts';
import { Guest } from '../guest/session.ts';
import type { TartRun } from '../tart/runs.ts';
import { bootLimits, sshDeadLimitMs, vmBeatFreshMs } from '../time-limits.ts';
import { bootVm } from '../vm/boot.ts';
import { type BootFailure, handBackOf } from '../vm/boot-failure.ts';
import { adoptVm, type BootOptions, type BootResult, destroyVm, type Vm } from '../vm/vm.ts';
import type { AttemptContext } from './context.ts';

export interface Booted {
  vm: Vm;
  guest: Guest;
}

/** Rejects with AttemptOver. */
export async function boot(context: AttemptContext): Promise<Booted> {
  const { journal } = context;
  const { run } = journal.state;
  const result = journal.reached('booted') && run !== null ? await adopt(context, run) : await bootNew(context);
  if (!result.ok) throw bootFailed(result);
  const { vm } = result;
  const onExit = () => context.end(failed('vm_exited', 'run', vm.end?.message ?? 'tart run has ended'));
  if (vm.exited.aborted) onExit();
  vm.exited.addEventListener('abort', onExit, { once: true });
  return { vm, guest: sessionIn(context, vm) };
}

const bootFailed = (failure: BootFailure): AttemptOver => {
  const { verdict, step, message, kind } = failure;
  const sshKind = step === 'ssh' ? kind : undefined;
  return new AttemptOver({ kind: 'failed', verdict, step, message, sshKind, handBack: handBackOf(failure) });
};

async function bootNew(context: AttemptContext): Promise<BootResult> {
  context.enter('booting');
  const { journal, resumed } = context;
  if (resumed) await destroyLeftover(context);
  return await bootVm({ ...bootOptions(context), onRun: (started) => journal.update({ run: started }) });
}

/** Deletes the VM that an earlier run of the agent began to boot. No build has run in it. */
async function destroyLeftover({ tart, journal, signal }: AttemptContext): Promise<void> {
  const { vmName, run } = journal.state;
  const removed = await destroyVm({ tart, name: vmName, run: run ?? undefined, signal });
  signal.throwIfAborted();
  if (!removed.ok) throw failed('vm_start_failed', 'delete', removed.message);
}

async function adopt(context: AttemptContext, run: TartRun): Promise<BootResult> {
  const result = await adoptVm({ ...bootOptions(context), run });
  // This VM has passed its checks before, so this failure is one of the connection.
  if (result.ok || result.verdict !== 'health_check_failed') return result;
  const { message, step, kind } = result;
  const sshKind = step === 'ssh' ? kind : undefined;
  throw new AttemptOver({ kind: 'failed', verdict: 'transfer_failed', step: 'ssh', message, sshKind });
}

/** Rejects with AttemptOver if this Mac has no image that the build asks for. */
export function requireImage({ journal }: AttemptContext): void {
  const { image, assignment } = journal.state;
  if (image !== null || journal.reached('booted')) return;
  const { image: name = 'without a name', imageIdentity, platform } = assignment;
  const message = `this Mac has no image ${name} for ${platform}${imageIdentity ? ' as it was offered' : ''}`;
  const ending = {
    kind: 'failed',
    verdict: 'vm_start_failed',
    step: 'clone',
    message,
    handBack: 'image_gone',
  } as const;
  throw new AttemptOver(ending);
}

function bootOptions({ tart, config, journal, signal, emit }: AttemptContext): BootOptions {
  const { image } = journal.state;
  return {
    tart,
    config: image ? { ...config, vmHostKey: image.hostKey ?? undefined } : config,
    ...(image && { from: image.vm }),
    name: journal.state.vmName,
    runDir: journal.dir,
    limits: bootLimits(journal.state.assignment.timeouts),
    signal,
    onStep: (progress) => emit({ type: 'step', ...progress }),
  };
}

function sessionIn({ journal, limits, beats, contact, emit, signal }: AttemptContext, vm: Vm): Guest {
  const { timeouts } = journal.state.assignment;
  const freshMs = vmBeatFreshMs(timeouts);
  return new Guest({
    vm,
    deadLimitMs: sshDeadLimitMs(timeouts, limits),
    slowLimitMs: limits.sshDeadMs,
    vmBeats: () => beats.vmBeat !== null && beats.vmBeat.ageMs < freshMs && contact.lostForMs() < freshMs,
    onReconnected: (deadMs) =>
      emit({ type: 'warning', message: `SSH was replaced: the old connection was dead for ${deadMs} ms` }),
    signal,
  });
}
