/**
 * Checks one booted VM from outside and tells each result as an event. The first blocking failure ends the
 * attempt under the name of its check.
 * Invariant: the VM is not blamed if the controller is away or a connection breaks. A VM that cannot reach
 * the controller fails only if this Mac can reach it, and a failure over a broken connection counts only if
 * no other connection can be made.
 * counts only if no other connection can be made.
 */
import { untilAnswered } from '../../client/retry.ts';
import { failed } from '../ending.ts';
import { SshError } from '../guest/ssh-error.ts';
import { blockingFailure, type CheckResult, runChecks } from '../health-checks/run-checks.ts';
import { VM_CHECKS } from '../health-checks/vm-checks-before-build.ts';
import { bootLimits, RECONNECT_MS } from '../time-limits.ts';
import type { Vm } from '../vm/vm.ts';
import type { AttemptContext } from './context.ts';

const RECONNECTS_MAX = 3;

/** Rejects with AttemptOver. */
export async function checkVm(context: AttemptContext, vm: Vm): Promise<void> {
  for (let reachable = false, reconnects = 0; ; ) {
    const failure = await firstFailure(context, vm);
    if (!failure) return;
    if (vm.ssh.signal.aborted && reconnects++ < RECONNECTS_MAX && (await reconnect(context, vm))) continue;
    // The check of the controller must fail twice, with an answer to this Mac in between. At the first
    // failure the controller may just have come back.
    if (failure.id !== 'controller' || reachable) {
      const advice = failure.fix ? ` ${failure.fix}` : '';
      throw failed('health_check_failed', failure.id, `${failure.detail}.${advice}`);
    }
    reachable = await hostReachesController(context);
  }
}

async function firstFailure(
  { tart, config, journal, emit, signal }: AttemptContext,
  vm: Vm,
): Promise<CheckResult | null> {
  const onResult = ({ id, title, status, durationMs, detail }: CheckResult) =>
    emit({ type: 'check', id, title, status, durationMs, detail });
  // A check that hangs ends the attempt under its own name, before bootTimeout ends it without a name.
  const { sshMs: mostMs } = bootLimits(journal.state.assignment.timeouts);
  return blockingFailure(await runChecks(VM_CHECKS, { tart, config, vm }, { signal, onResult, mostMs }));
}

/** False if no other connection can be made. */
async function reconnect({ signal, emit }: AttemptContext, vm: Vm): Promise<boolean> {
  try {
    await vm.reconnect({ timeoutMs: RECONNECT_MS, signal });
    emit({ type: 'warning', message: 'SSH was replaced: the checks are made again' });
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof SshError)) throw error;
    return false;
  }
}

/** True if this Mac reaches the controller at once. Otherwise waits for the controller. */
async function hostReachesController({ workerClient, limits, emit, signal }: AttemptContext): Promise<boolean> {
  const ask = () => workerClient.me(signal);
  const answer = await ask();
  if (answer.ok || answer.kind === 'refused') return true;
  emit({ type: 'warning', message: `the controller is away (${answer.message}): the checks wait for it` });
  await untilAnswered(ask, { signal, giveUpAfterMs: limits.outageMs });
  return false;
}
