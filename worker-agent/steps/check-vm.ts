/**
 * The external health checks of one booted VM, told as events; the first that fails ends the attempt under its name.
 *
 * Invariant: a VM is not blamed for a controller that is away, nor for a connection that breaks: what it cannot reach must be in reach of its
 * host, and what ends the attempt was seen over a connection that lives, or when no other could be made.
 */
import { untilAnswered } from '../../client/retry.ts';
import { failed } from '../ending.ts';
import { SshError } from '../guest/ssh-error.ts';
import { blockingFailure, type CheckResult, runChecks } from '../health-checks/run-checks.ts';
import { VM_CHECKS } from '../health-checks/vm-checks.ts';
import type { Vm } from '../vm/vm.ts';
import type { AttemptRun } from './context.ts';

const RECONNECTS_MAX = 3;
const RECONNECT_MS = 10_000;

export async function checkVm(run: AttemptRun, vm: Vm): Promise<void> {
  for (let reachable = false, reconnects = 0; ; ) {
    const failure = await firstFailure(run, vm);
    if (!failure) return;
    // A connection that breaks tells nothing of the VM, if another one can be had.
    if (vm.ssh.signal.aborted && reconnects++ < RECONNECTS_MAX && (await reconnect(run, vm))) continue;
    // Twice in a row with the host's own answer in between: once, the controller may have come back just then.
    if (failure.id !== 'controller' || reachable) {
      const advice = failure.fix ? ` ${failure.fix}` : '';
      throw failed('health_check_failed', failure.id, `${failure.detail}.${advice}`);
    }
    reachable = await hostReachesController(run);
  }
}

async function firstFailure(run: AttemptRun, vm: Vm): Promise<CheckResult | null> {
  const { tart, config, emit } = run.context;
  const results = await runChecks(
    VM_CHECKS,
    { tart, config, vm },
    {
      signal: run.signal,
      onResult: ({ id, title, status, durationMs, detail }) =>
        emit({ type: 'check', id, title, status, durationMs, detail }),
    },
  );
  return blockingFailure(results);
}

/** False if no other connection can be had. */
async function reconnect({ signal, context }: AttemptRun, vm: Vm): Promise<boolean> {
  try {
    await vm.reconnect({ timeoutMs: RECONNECT_MS, signal });
    context.emit({ type: 'warning', message: 'SSH was replaced: the checks are made again' });
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof SshError)) throw error;
    return false;
  }
}

/** True if it does at once; else waits until it does, which tells nothing of the VM. */
async function hostReachesController(run: AttemptRun): Promise<boolean> {
  const { client, limits, emit } = run.context;
  const ask = () => client.me(run.signal);
  const answer = await ask();
  if (answer.ok || answer.kind === 'refused') return true;
  emit({ type: 'warning', message: `the controller is away (${answer.message}): the checks wait for it` });
  await untilAnswered(ask, { signal: run.signal, giveUpAfterMs: limits.outageMs });
  return false;
}
