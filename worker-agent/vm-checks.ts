/** The external health checks of one booted VM, told as events; the first that fails ends the attempt under its name. */
import type { AttemptRun } from './attempt-run.ts';
import { failed } from './ending.ts';
import { blockingFailure, runChecks } from './health-checks/run-checks.ts';
import { VM_CHECKS } from './health-checks/vm-checks.ts';
import type { Vm } from './vm.ts';

export async function checkVm(run: AttemptRun, vm: Vm): Promise<void> {
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
  const failure = blockingFailure(results);
  if (!failure) return;
  const advice = failure.fix ? ` ${failure.fix}` : '';
  throw failed('health_check_failed', failure.id, `${failure.detail}.${advice}`);
}
