/**
 * Removes a VM: stops it, kills its run if it does not stop, deletes it, and checks that it no longer exists.
 * It believes neither a success nor a "does not exist" of `tart delete`: Tart up to 2.39.0 says the latter of
 * a VM that runs, and deletes nothing.
 *
 * Invariant: it answers ok only if `tart list` no longer shows the VM and the disk has no files of it.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { jittered, pause } from '../../client/retry.ts';
import { failure, type TartFailure, type TartResult, type TartVm } from './answers.ts';
import type { TartCall } from './call.ts';
import type { TartRun } from './runs.ts';

/** The functions of Tart that the removal of a VM needs. */
export interface Remover {
  /** The folder of all VMs: `$TART_HOME`. */
  home: string;
  call: TartCall['call'];
  list(signal?: AbortSignal): Promise<TartResult<{ vms: TartVm[] }>>;
  /** Waits a moment for a run that was told to stop, then kills it. */
  killRun(run: TartRun): Promise<void>;
}

/** `tart stop` waits this long before it kills a `tart run` that does not react. */
const STOP_GRACE_SECONDS = 10;
const REMOVE_TRIES = 4;
const REMOVE_PAUSE_MS = 1_000;

export async function removeVm(
  tart: Remover,
  name: string,
  run: TartRun | undefined,
  signal: AbortSignal | undefined,
): Promise<TartResult> {
  let last: TartFailure | null = null;
  for (let attempt = 0; attempt < REMOVE_TRIES; attempt++) {
    if (attempt > 0) await pause(jittered(REMOVE_PAUSE_MS), signal).catch(() => {});
    if (signal?.aborted) return failure('delete', 'aborted', null, `the agent stopped before ${name} was removed`);
    const before = await isListed(tart, name, signal);
    if (before === false) {
      if (run) await tart.killRun(run);
      return removeRest(tart.home, name);
    }
    const failed = await stopAndDelete(tart, name, run, signal);
    const after = await isListed(tart, name, signal);
    if (after === false) return removeRest(tart.home, name);
    last = [after, failed, before, last].find((one) => one !== true && one !== null) ?? null;
  }
  return (
    last ??
    failure('delete', 'failed', null, `tart list still shows ${name} after ${REMOVE_TRIES} calls of tart delete`)
  );
}

/**
 * A `tart delete` that was killed leaves a part of the VM's folder. Tart neither lists nor deletes such a
 * folder, and its disk may take many gigabytes.
 */
async function removeRest(home: string, name: string): Promise<TartResult> {
  const folder = join(home, 'vms', name);
  try {
    await rm(folder, { recursive: true, force: true });
    return { ok: true };
  } catch (error) {
    const message = `what an interrupted \`tart delete\` has left in ${folder} cannot be deleted: ${(error as Error).message}`;
    return failure('delete', 'failed', null, message);
  }
}

/** Whether `tart list` shows the VM, or the failure of `tart list`. */
async function isListed(tart: Remover, name: string, signal?: AbortSignal): Promise<boolean | TartFailure> {
  const listed = await tart.list(signal);
  return listed.ok ? listed.vms.some((vm) => vm.name === name) : listed;
}

/** Returns the last failure that matters; null if there was none. */
async function stopAndDelete(
  { call, killRun }: Remover,
  name: string,
  run: TartRun | undefined,
  signal: AbortSignal | undefined,
): Promise<TartFailure | null> {
  const stopped = await call('stop', ['stop', name, '--timeout', String(STOP_GRACE_SECONDS)], { signal });
  if (run) await killRun(run);
  const deleted = await call('delete', ['delete', name], { signal });
  if (!deleted.ok && deleted.kind !== 'not_found') return deleted;
  // A stopped VM answers `not_running`. So does a run that had not yet taken its lock, and was killed above.
  return stopped.ok || stopped.kind === 'not_running' || stopped.kind === 'not_found' ? null : stopped;
}
