/**
 * Holds one attempt's VM while it runs: its address, its SSH connection and its end. Finds a running VM
 * again, reconnects to it, and destroys it.
 *
 * Invariant: destroyVm(name) is safe at any moment, also if the VM never existed. Nothing here decides how an
 * attempt ends: failures are values that name the verdict.
 */
import { join } from 'node:path';
import type { AgentConfig } from '../config.ts';
import type { VmScripts } from '../guest/scripts.ts';
import type { Ssh } from '../guest/ssh.ts';
import type { TartResult } from '../tart/answers.ts';
import type { TartRun } from '../tart/runs.ts';
import type { Tart } from '../tart/tart.ts';
import { BOOT_LIMITS, type BootLimits } from '../time-limits.ts';
import { waitForAddress } from './address.ts';
import { type BootFailure, checkFailed, exitedEarly, neverStarted, type VmEnd } from './boot-failure.ts';
import { type BootProgress, reportStep } from './boot-progress.ts';
import { waitForSsh } from './connect.ts';

/**
 * `await using` destroys the VM; after `release()` the agent no longer watches it, and it continues to run.
 */
export interface Vm extends AsyncDisposable {
  readonly name: string;
  readonly address: string;
  readonly run: TartRun;
  /** The present connection. */
  readonly ssh: Ssh;
  /** The guest scripts that the agent's commands run with, over each of its connections. */
  readonly scripts: VmScripts;
  /** Aborts when `tart run` has ended, for any reason. */
  readonly exited: AbortSignal;
  /** Set once `exited` has fired. */
  readonly end: VmEnd | null;
  /**
   * Asks tart for the address and connects again to the same host key. Rejects with SshError when timeoutMs
   * has passed.
   */
  reconnect(options: { timeoutMs: number; signal?: AbortSignal }): Promise<Ssh>;
  release(): void;
}

export interface BootOptions {
  tart: Tart;
  config: AgentConfig;
  /** The output of `tart run` is written to `<runDir>/<name>.log`. */
  runDir: string;
  limits?: Partial<BootLimits>;
  /** The VM that a boot clones. Default: the first snapshot of the first image. */
  from?: string | undefined;
  name: string;
  signal: AbortSignal;
  onStep?: (progress: BootProgress) => void;
}

export type BootResult = { ok: true; vm: Vm } | BootFailure;

export const runLogFile = ({ runDir, name }: { runDir: string; name: string }) => join(runDir, `${name}.log`);

/** Waits for the address and for SSH of a VM that runs: after a boot, or after a restart of the agent. */
export async function adoptVm(options: BootOptions & { run: TartRun }): Promise<BootResult> {
  const { tart, config, name, signal, run } = options;
  const limits = { ...BOOT_LIMITS, ...options.limits };
  const watch = watchRun(tart, run, runLogFile(options));
  // Each of them ends every wait below at once: the caller's signal with an exception, the end of the VM with
  // a failure.
  const either = AbortSignal.any([signal, watch.exited]);
  const failed = (failure: BootFailure) => {
    watch.release();
    signal.throwIfAborted();
    return watch.end ? exitedEarly(watch.end, failure.step) : failure;
  };

  try {
    const found = await reportStep(options, 'address', () => waitForAddress(tart, name, limits.addressMs, either));
    if (!found.ok) {
      const neverRan = !either.aborted && (await isStopped(tart, name, either));
      return failed(neverRan ? neverStarted(found) : checkFailed('vm_address', found));
    }
    const scripts: VmScripts = { seen: null, version: null };
    const wait = { tart, config, name, scripts, firstAddress: found.address, timeoutMs: limits.sshMs, signal: either };
    const reached = await reportStep(options, 'ssh', () => waitForSsh(wait));
    if (!reached.ok) return failed(checkFailed('ssh', { kind: reached.error.kind, message: reached.message }));
    return { ok: true, vm: handleOf(options, watch, { ...reached, scripts }) };
  } catch (error) {
    watch.release();
    throw error;
  }
}

/** Stops and deletes the VM. Answers ok when `tart list` no longer shows it, also if it never existed. */
export function destroyVm(options: {
  tart: Tart;
  name: string;
  run?: TartRun | undefined;
  signal?: AbortSignal;
}): Promise<TartResult> {
  return options.tart.remove(options.name, { run: options.run, signal: options.signal });
}

function handleOf(
  { tart, config, name, run }: BootOptions & { run: TartRun },
  watch: RunWatch,
  { scripts, ...first }: { ssh: Ssh; address: string; scripts: VmScripts },
): Vm {
  let { ssh, address } = first;
  const vm: Vm = {
    name,
    run,
    scripts,
    get address() {
      return address;
    },
    get ssh() {
      return ssh;
    },
    exited: watch.exited,
    get end() {
      return watch.end;
    },
    async reconnect({ timeoutMs, signal: caller }) {
      const signal = caller ? AbortSignal.any([caller, watch.exited]) : watch.exited;
      const { hostFingerprint } = ssh;
      ssh.close();
      const again = await waitForSsh({ tart, config, name, scripts, timeoutMs, signal, hostFingerprint });
      if (!again.ok) throw again.error;
      ({ ssh, address } = again);
      return ssh;
    },
    release() {
      watch.release();
      ssh.close();
    },
    async [Symbol.asyncDispose]() {
      vm.release();
      await destroyVm({ tart, name, run });
    },
  };
  return vm;
}

interface RunWatch {
  readonly exited: AbortSignal;
  end: VmEnd | null;
  release(): void;
}

/** Notices the end of `tart run`, also of one that an earlier agent started. */
function watchRun(tart: Tart, run: TartRun, logFile: string): RunWatch {
  const exited = new AbortController();
  const stopped = new AbortController();
  const watch: RunWatch = { exited: exited.signal, end: null, release: () => stopped.abort() };
  tart.waitForRunExit(run, stopped.signal).then(
    async ({ exitCode }) => {
      const { message, kind } = await tart.explainRunExit(logFile, exitCode);
      watch.end = { exitCode, message, kind };
      exited.abort(new Error(message));
    },
    () => {}, // released
  );
  return watch;
}

/** True for a `tart run` that hangs before it has started its VM. */
async function isStopped(tart: Tart, name: string, signal: AbortSignal): Promise<boolean> {
  const listed = await tart.list(signal);
  return listed.ok && listed.vms.some((vm) => vm.name === name && vm.state !== 'running');
}
