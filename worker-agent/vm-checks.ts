/** The external health checks of one booted VM, reported as events; the first that fails ends the attempt with its name. */
import type { AttemptRun } from './attempt-run.ts';
import type { Vm } from './vm.ts';

export async function checkVm(_run: AttemptRun, _vm: Vm): Promise<void> {}
