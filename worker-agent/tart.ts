/**
 * The only module that spawns tart, and the only one that reads its messages.
 *
 * Invariant: every call ends, by tart's answer or by its time limit, and its outcome is a value. `tart run` alone outlives its call:
 * it has its own session and writes to files, so that neither the agent's death nor Ctrl-C takes the VM with it.
 */
export type TartStep = 'version' | 'list' | 'get' | 'ip' | 'clone' | 'set' | 'run' | 'stop' | 'delete';

export type TartFailureKind =
  | 'no_tart' // tartPath cannot be executed
  | 'timeout'
  | 'aborted'
  | 'not_found'
  | 'already_exists'
  | 'already_running'
  | 'not_running'
  | 'vm_limit'
  | 'no_address'
  | 'garbage' // an answer that is not Tart's
  | 'failed';

export interface TartFailure {
  ok: false;
  step: TartStep;
  kind: TartFailureKind;
  exitCode: number | null;
  /** One line for people. */
  message: string;
}

export type TartResult<T = object> = ({ ok: true } & T) | TartFailure;

export interface TartVm {
  name: string;
  source: 'local' | 'oci';
  state: 'running' | 'suspended' | 'stopped';
}

/** A `tart run` process, told from a later one with the same pid by its start time. Goes into the journal. */
export interface TartRun {
  pid: number;
  startTime: string;
}

export interface Hardware {
  cpus?: number | undefined;
  memoryMb?: number | undefined;
  /** `1024x768`, optionally with `pt` or `px`. */
  display?: string | undefined;
}

export interface Tart {
  version(signal?: AbortSignal): Promise<TartResult<{ version: string }>>;
  list(signal?: AbortSignal): Promise<TartResult<{ vms: TartVm[] }>>;
  /** `no_address` is the usual answer while the VM boots. Proves nothing about life: a stopped VM may still have one. */
  ip(name: string, options?: { waitSeconds?: number; signal?: AbortSignal }): Promise<TartResult<{ address: string }>>;
  /** Asks the list first, since tart would replace an existing VM without a word. */
  clone(source: string, name: string, signal?: AbortSignal): Promise<TartResult>;
  /** A new MAC address and, where given, hardware. Leaves a suspended VM alone: it could not be resumed. */
  set(name: string, hardware: Hardware, signal?: AbortSignal): Promise<TartResult>;
  /** Starts the VM detached; its output is appended to logFile. Says nothing about whether it boots. */
  startRun(name: string, options: { logFile: string; args?: string[] }): Promise<TartResult<{ run: TartRun }>>;
  isRunAlive(run: TartRun): Promise<boolean>;
  /** Resolves when the process is gone, with its exit code if this agent was its parent; rejects only with the signal's reason. */
  waitForRunExit(run: TartRun, signal?: AbortSignal): Promise<{ exitCode: number | null }>;
  /** Why `tart run` ended, from the end of its log. */
  explainRunExit(logFile: string, exitCode: number | null): Promise<TartFailure>;
  /** Stops and deletes; ok when `tart list` no longer shows it, also if it never did. A run that does not stop is killed. */
  remove(name: string, options?: { run?: TartRun | undefined; signal?: AbortSignal }): Promise<TartResult>;
  /** From the clone's config.json, in long lower-case form. */
  macAddress(name: string): Promise<TartResult<{ macAddress: string }>>;
}

export function createTart(_options: {
  tartPath: string;
  tartHome?: string | undefined;
  env?: NodeJS.ProcessEnv;
}): Tart {
  throw new Error('not yet');
}
