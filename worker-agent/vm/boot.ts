/**
 * Boots an attempt's VM: clones the VM of its image, sets MAC address and hardware, starts it, and waits
 * until it answers.
 *
 * Invariant: a boot destroys nothing. The caller destroys the VM, also after a boot that failed.
 */

import { awakeTimer } from '../../client/running-clock.ts';
import { baseImageName, vmControllerUrl } from '../config.ts';
import { failure, type TartFailure, type TartResult } from '../tart/answers.ts';
import { networkArgsFor } from '../tart/isolation.ts';
import type { TartRun } from '../tart/runs.ts';
import { BOOT_LIMITS } from '../time-limits.ts';
import { startFailed } from './boot-failure.ts';
import { reportStep } from './boot-progress.ts';
import { adoptVm, type BootOptions, type BootResult, runLogFile } from './vm.ts';

/** Rejects only with the signal's reason. */
export async function bootVm(
  options: BootOptions & {
    /** Called, and awaited, as soon as `tart run` exists, so that the caller can keep it in the journal. */
    onRun?: (run: TartRun) => void | Promise<void>;
  },
): Promise<BootResult> {
  const { tart, config, name, signal } = options;
  const hardware = { cpus: config.vmCpus, memoryMb: config.vmMemoryMb, display: config.vmDisplay };
  const limits = { ...BOOT_LIMITS, ...options.limits };
  const failed = (failed: TartFailure): BootResult => {
    signal.throwIfAborted();
    return startFailed(failed);
  };

  const { from = baseImageName(config.images[0]) } = options;
  const clone = (limit: AbortSignal) => tart.clone(from, name, limit);
  const cloned = await reportStep(options, 'clone', () => within('clone', limits.cloneMs, signal, clone));
  if (!cloned.ok) return failed(cloned);
  const setHardware = (limit: AbortSignal) => tart.set(name, hardware, limit);
  const set = await reportStep(options, 'set', () => within('set', limits.setMs, signal, setHardware));
  if (!set.ok) return failed(set);
  const started = await reportStep(options, 'run', () => startIsolated(options));
  if (!started.ok) return failed(started);
  await options.onRun?.(started.run);
  return adoptVm({ ...options, run: started.run });
}

async function startIsolated(options: BootOptions): Promise<TartResult<{ run: TartRun }>> {
  const { tart, config, name } = options;
  let args: string[];
  try {
    args = await networkArgsFor(config.isolation, vmControllerUrl(config));
  } catch (error) {
    const why = `isolation is "controller", and the controller's address cannot be looked up`;
    return failure('run', 'failed', null, `${why} (${(error as Error).message})`);
  }
  return tart.startRun(name, { logFile: runLogFile(options), args });
}

/** A tart that uses up the whole time has hung, in any of its commands. */
async function within(
  step: 'clone' | 'set',
  limitMs: number,
  signal: AbortSignal,
  work: (limit: AbortSignal) => Promise<TartResult>,
): Promise<TartResult> {
  const limit = new AbortController();
  const clearTimer = awakeTimer(limitMs, () => limit.abort());
  const result = await work(AbortSignal.any([signal, limit.signal])).finally(clearTimer);
  if (result.ok || !limit.signal.aborted || signal.aborted) return result;
  return { ...result, step, kind: 'timeout', message: `tart ${step} did not end within ${limitMs / 1000} s` };
}
