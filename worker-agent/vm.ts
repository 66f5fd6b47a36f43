/**
 * One attempt's VM: boot it, find it again, connect again, destroy it.
 *
 * Invariant: a name is known before anything exists under it, and destroyVm(name) is safe at any moment after that. Nothing here
 * decides what an attempt's end means; failures come back as values that name the verdict.
 */
import type { AgentConfig } from './config.ts';
import type { Ssh } from './ssh.ts';
import type { Tart, TartResult, TartRun } from './tart.ts';

export interface VmKey {
  workerId: string;
  buildId: string;
  attempt: number;
}

export type BootStep = 'clone' | 'set' | 'run' | 'address' | 'ssh';

export interface BootProgress {
  step: BootStep;
  status: 'started' | 'done' | 'failed';
  /** 0 for started. */
  durationMs: number;
  detail: string;
}

export interface BootFailure {
  ok: false;
  verdict: 'vm_start_failed' | 'health_check_failed' | 'vm_exited';
  /** A boot step for vm_start_failed and vm_exited, the check's id (vm_address, ssh) for health_check_failed. */
  step: string;
  message: string;
}

export interface VmEnd {
  exitCode: number | null;
  /** From the end of the run's log. */
  message: string;
}

/** `await using` destroys the VM; `release()` lets go of it and leaves it running. */
export interface Vm extends AsyncDisposable {
  readonly name: string;
  readonly address: string;
  readonly run: TartRun;
  /** The present connection. */
  readonly ssh: Ssh;
  /** Aborts when `tart run` has ended, whoever wished it. */
  readonly exited: AbortSignal;
  /** Set once `exited` has fired. */
  readonly end: VmEnd | null;
  /** A new connection to the same host key; asks tart for the address anew. Rejects with SshError when timeoutMs has passed. */
  reconnect(options: { timeoutMs: number; signal?: AbortSignal }): Promise<Ssh>;
  release(): void;
}

export interface VmOptions {
  tart: Tart;
  config: AgentConfig;
  /** Where the output of `tart run` goes: `<runDir>/<name>.log`. */
  runDir: string;
}

export declare function vmNameOf(key: VmKey): string;
export declare function parseVmName(name: string, workerId: string): VmKey | null;
/** Rejects only with the signal's reason. The caller destroys the VM, also after a failure. */
export declare function bootVm(
  options: VmOptions & {
    name: string;
    signal: AbortSignal;
    onStep?: (progress: BootProgress) => void;
    /** Called, and awaited, as soon as `tart run` exists: journal it. */
    onRun?: (run: TartRun) => void | Promise<void>;
  },
): Promise<{ ok: true; vm: Vm } | BootFailure>;
/** After an agent's restart: the same as bootVm from the address on. */
export declare function adoptVm(
  options: VmOptions & { name: string; run: TartRun; signal: AbortSignal; onStep?: (progress: BootProgress) => void },
): Promise<{ ok: true; vm: Vm } | BootFailure>;
/** Stops and deletes. ok when `tart list` no longer shows it. */
export declare function destroyVm(options: {
  tart: Tart;
  name: string;
  run?: TartRun | undefined;
  signal?: AbortSignal;
}): Promise<TartResult>;
