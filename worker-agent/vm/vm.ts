/**
 * One attempt's VM: boot it, find it again, connect again, destroy it.
 *
 * Invariant: a name is known before anything exists under it, and destroyVm(name) is safe at any moment after that. Nothing here
 * decides what an attempt's end means; failures come back as values that name the verdict.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jittered, pause } from '../../client/retry.ts';
import { type AgentConfig, baseImageName, vmControllerUrl } from '../config.ts';
import { connectSsh, type Ssh, SshError, type SshErrorKind } from '../guest/ssh.ts';
import { BOOT_LIMITS, type BootLimits } from '../limits.ts';
import { awakeMs, awakeTimer } from '../mac/running-clock.ts';
import { networkArgsFor } from '../tart/network.ts';
import type { Tart, TartFailure, TartResult, TartRun } from '../tart/tart.ts';

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
  /** clone, set or run; the check's id (vm_address, ssh) for health_check_failed. */
  step: string;
  /** What tart or SSH made of it. */
  kind: TartFailure['kind'] | SshErrorKind;
  message: string;
}

export interface VmEnd {
  exitCode: number | null;
  kind: TartFailure['kind'];
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

const TRY_PAUSE_MS = 500;
const TRY_MIN_MS = 500;
const IP_WAIT_SECONDS = 10;
const CONNECT_TIMEOUT_MS = 5_000;
/** A key that is refused for so long by a guest that is up will not be accepted later. */
const AUTH_PATIENCE_MS = 20_000;

export interface VmOptions {
  tart: Tart;
  config: AgentConfig;
  /** The output of `tart run` goes to `<runDir>/<name>.log`. */
  runDir: string;
  limits?: Partial<BootLimits>;
}

export interface BootOptions extends VmOptions {
  name: string;
  signal: AbortSignal;
  onStep?: (progress: BootProgress) => void;
}

export type BootResult = { ok: true; vm: Vm } | BootFailure;

const PREFIX = 'tartbeat-';

export const vmNameOf = ({ workerId, buildId, attempt }: VmKey): string => `${PREFIX}${workerId}-${buildId}-${attempt}`;

/** Null unless the whole name is one that this worker's agent gives. Ids may hold dashes, hence the worker must be known. */
export function parseVmName(name: string, workerId: string): VmKey | null {
  const start = `${PREFIX}${workerId}-`;
  if (!name.startsWith(start)) return null;
  const match = /^([A-Za-z0-9._-]+)-([1-9]\d{0,6})$/.exec(name.slice(start.length));
  return match && { workerId, buildId: match[1]!, attempt: Number(match[2]) };
}

/** Rejects only with the signal's reason. Destroys nothing: the caller does, after a failure too. */
export async function bootVm(
  options: BootOptions & {
    /** Called, and awaited, as soon as `tart run` exists: journal it. */
    onRun?: (run: TartRun) => void | Promise<void>;
  },
): Promise<BootResult> {
  const { tart, config, name, signal } = options;
  const hardware = { cpus: config.vmCpus, memoryMb: config.vmMemoryMb, display: config.vmDisplay };
  const logFile = runLogFile(options);
  const limits = { ...BOOT_LIMITS, ...options.limits };

  const clone = (limit: AbortSignal) => tart.clone(baseImageName(config), name, limit);
  const cloned = await report(options, 'clone', () => within('clone', limits.cloneMs, signal, clone));
  if (!cloned.ok) return startFailed(cloned, signal);
  const setHardware = (limit: AbortSignal) => tart.set(name, hardware, limit);
  const set = await report(options, 'set', () => within('set', limits.setMs, signal, setHardware));
  if (!set.ok) return startFailed(set, signal);
  const started = await report(options, 'run', () => startIsolated(options, logFile));
  if (!started.ok) return startFailed(started, signal);
  await options.onRun?.(started.run);
  return reach(options, started.run);
}

async function startIsolated({ tart, config, name }: BootOptions, logFile: string) {
  let args: string[];
  try {
    args = await networkArgsFor(config.isolation, vmControllerUrl(config));
  } catch (error) {
    const message = `isolation "controller": the controller's address cannot be looked up (${(error as Error).message})`;
    return { ok: false as const, step: 'run' as const, kind: 'failed' as const, exitCode: null, message };
  }
  return tart.startRun(name, { logFile, args });
}

/** After an agent's restart: waits for the address and SSH of a VM that runs already. */
export function adoptVm(options: BootOptions & { run: TartRun }): Promise<BootResult> {
  return reach(options, options.run);
}

/** Stops and deletes. ok when `tart list` no longer shows it, also if it never did. */
export function destroyVm(options: {
  tart: Tart;
  name: string;
  run?: TartRun | undefined;
  signal?: AbortSignal;
}): Promise<TartResult> {
  return options.tart.remove(options.name, { run: options.run, signal: options.signal });
}

const runLogFile = ({ runDir, name }: { runDir: string; name: string }) => join(runDir, `${name}.log`);

async function reach(options: BootOptions, run: TartRun): Promise<BootResult> {
  const { tart, config, name, signal } = options;
  const limits = { ...BOOT_LIMITS, ...options.limits };
  const watch = watchRun(tart, run, runLogFile(options));
  // Both end every wait below at once: the caller's wish as an exception, the end of the VM as a failure.
  const either = AbortSignal.any([signal, watch.exited]);
  const failed = (failure: BootFailure) => {
    watch.release();
    signal.throwIfAborted();
    return watch.end ? exitedEarly(watch.end, failure.step) : failure;
  };

  try {
    const found = await report(options, 'address', () => waitForAddress(tart, name, limits.addressMs, either));
    if (!found.ok) {
      const neverRan = !either.aborted && (await isStopped(tart, name, either));
      return failed(neverRan ? neverStarted(found) : checkFailed('vm_address', found));
    }

    const connecting = { tart, config, name, firstAddress: found.address, timeoutMs: limits.sshMs };
    const connected = await report(options, 'ssh', () => waitForSsh({ ...connecting, signal: either }));
    if (!connected.ok) return failed(checkFailed('ssh', { kind: connected.error.kind, message: connected.message }));

    let { ssh, address } = connected;
    const vm: Vm = {
      name,
      run,
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
        const ended = caller ? AbortSignal.any([caller, watch.exited]) : watch.exited;
        const { hostFingerprint } = ssh;
        ssh.close();
        const again = await waitForSsh({ tart, config, name, timeoutMs, signal: ended, hostFingerprint });
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
    return { ok: true, vm };
  } catch (error) {
    watch.release();
    throw error;
  }
}

/** Runs one step and reports its begin and its end. */
async function report<T extends { ok: true } | { ok: false; message: string }>(
  { onStep, signal }: BootOptions,
  step: BootStep,
  work: () => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const startedAt = performance.now();
  onStep?.({ step, status: 'started', durationMs: 0, detail: '' });
  const result = await work();
  const durationMs = Math.round(performance.now() - startedAt);
  const detail = result.ok ? ((result as { address?: string }).address ?? '') : result.message;
  onStep?.({ step, status: result.ok ? 'done' : 'failed', durationMs, detail });
  return result;
}

/** Notices the end of `tart run`, even one that the agent did not start itself. */
function watchRun(tart: Tart, run: TartRun, logFile: string) {
  const exited = new AbortController();
  const stopped = new AbortController();
  const watch = { exited: exited.signal, end: null as VmEnd | null, release: () => stopped.abort() };
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

async function waitForAddress(tart: Tart, name: string, timeoutMs: number, signal: AbortSignal) {
  const deadline = awakeMs() + timeoutMs;
  let last = '';
  for (;;) {
    const leftMs = deadline - awakeMs();
    if (leftMs <= 0 || signal.aborted)
      return {
        ok: false as const,
        kind: 'no_address' as const,
        message: `no address within ${timeoutMs / 1000} s${last && ` (${last})`}`,
      };
    const waitSeconds = Math.min(IP_WAIT_SECONDS, Math.ceil(leftMs / 1000));
    const result = await tart.ip(name, { waitSeconds, signal });
    if (result.ok) return result;
    last = result.message;
    if (result.kind === 'no_tart') return result;
    await pause(jittered(TRY_PAUSE_MS), signal).catch(() => {}); // the loop looks at the signal
  }
}

async function waitForSsh(options: {
  tart: Tart;
  config: VmOptions['config'];
  name: string;
  /** Asked anew for each further try: the first may be the stale one of an earlier VM. */
  firstAddress?: string;
  timeoutMs: number;
  signal: AbortSignal;
  hostFingerprint?: string;
}) {
  const { tart, config, name, timeoutMs, signal, hostFingerprint } = options;
  const startedAt = awakeMs();
  const leftMs = () => startedAt + timeoutMs - awakeMs();
  const failed = (error: SshError) => ({ ok: false as const, error, message: error.message });

  let privateKey: string;
  try {
    privateKey = await readFile(config.vmSshKey, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return failed(new SshError('auth', `the private key ${config.vmSshKey} cannot be read (${code})`));
  }

  let address = options.firstAddress;
  let refusedSince: number | null = null;
  let last = new SshError('timeout', `no SSH within ${timeoutMs / 1000} s`);
  // A last try too short to succeed would only hide what the earlier ones saw.
  for (let tries = 0; (tries === 0 || leftMs() > TRY_MIN_MS) && !signal.aborted; tries++) {
    if (address === undefined) {
      const found = await tart.ip(name, { signal });
      if (found.ok) address = found.address;
      else last = new SshError('timeout', found.message);
    }
    if (address !== undefined)
      try {
        const ssh = await connectSsh({
          host: address,
          port: config.vmSshPort,
          user: config.vmUser,
          privateKey,
          hostFingerprint: hostFingerprint ?? config.vmHostKey?.replace('SHA256:', ''),
          connectTimeoutMs: Math.max(TRY_MIN_MS, Math.min(CONNECT_TIMEOUT_MS, leftMs())),
          signal,
        });
        return { ok: true as const, ssh, address };
      } catch (error) {
        if (!(error instanceof SshError)) throw error;
        last = error;
        refusedSince = error.kind === 'auth' ? (refusedSince ?? awakeMs()) : null;
        if (refusedSince !== null && awakeMs() - refusedSince > AUTH_PATIENCE_MS) break;
      }
    address = undefined;
    await pause(jittered(TRY_PAUSE_MS), signal).catch(() => {}); // the loop looks at the signal
  }
  return failed(signal.aborted && last.kind !== 'aborted' ? new SshError('aborted', last.message) : last);
}

/** Tart that uses up its whole time has hung, whichever of its commands it was. */
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

/** A `tart run` that hangs before it has the VM: nothing is running whose address one could wait for. */
async function isStopped(tart: Tart, name: string, signal: AbortSignal): Promise<boolean> {
  const listed = await tart.list(signal);
  return listed.ok && listed.vms.some((vm) => vm.name === name && vm.state !== 'running');
}

type Reason = Pick<BootFailure, 'kind' | 'message'>;

const neverStarted = ({ kind, message }: Reason): BootFailure => ({
  ok: false,
  verdict: 'vm_start_failed',
  step: 'run',
  kind,
  message: `tart run has not started the VM: ${message}`,
});

function startFailed(failure: TartFailure, signal: AbortSignal): BootFailure {
  signal.throwIfAborted();
  return { ok: false, verdict: 'vm_start_failed', step: failure.step, kind: failure.kind, message: failure.message };
}

const checkFailed = (step: string, { kind, message }: Reason): BootFailure => ({
  ok: false,
  verdict: 'health_check_failed',
  step,
  kind,
  message,
});

/** Tart itself refusing to start the VM says so with an exit code; a guest that went away leaves 0, a killed run none. */
function exitedEarly({ exitCode, kind, message }: VmEnd, check: string): BootFailure {
  const neverRan = check === 'vm_address' && exitCode !== null && exitCode !== 0;
  return { ok: false, verdict: neverRan ? 'vm_start_failed' : 'vm_exited', step: 'run', kind, message };
}
