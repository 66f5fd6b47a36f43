/**
 * The only module that spawns tart, and the only one that reads its messages.
 *
 * Invariant: every call ends, by tart's answer or by its time limit, and its outcome is a value. `tart run` alone outlives its call:
 * it has its own session and writes to files, so that neither the agent's death nor Ctrl-C takes the VM with it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';
import { jittered, pause } from '../../client/retry.ts';
import { normaliseMac } from '../guest/commands.ts';
import { processStartTime } from '../mac/process-identity.ts';
import { asTartUser, type TartUser, tartUserOf } from '../mac/run-as.ts';
import { awakeTimer } from '../mac/running-clock.ts';

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
  | 'disk_locked' // by what is left of an earlier VM
  | 'start_refused' // by macOS: no session, a locked keychain
  | 'no_softnet'
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
  /** The folder of all VMs: `$TART_HOME`. */
  readonly home: string;
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
  /** From the same file; null where it does not say. */
  hardware(name: string): Promise<TartResult<{ cpus: number | null; memoryBytes: number | null }>>;
}

/** How long each call may take: a hung tart must not hang the agent. A clone may copy a disk, the others only change files. */
const LIMIT_MS = {
  version: 30_000,
  list: 30_000,
  get: 30_000,
  ip: 30_000,
  clone: 300_000,
  set: 60_000,
  run: 30_000,
  stop: 60_000,
  delete: 300_000,
} as const satisfies Record<TartStep, number>;

/** `tart stop` pulls the plug at once; this is for a `tart run` that does not react to it. */
const STOP_GRACE_SECONDS = 10;
const KILL_DELAY_MS = 2_000;
const RUN_POLL_MS = 500;
const REMOVE_TRIES = 4;
const REMOVE_PAUSE_MS = 1_000;
const LOG_TAIL_BYTES = 8_192;

/** Tart's words, as far as they decide anything. The first match counts. */
const MEANINGS: readonly (readonly [RegExp, TartFailureKind])[] = [
  [/exceeds the system limit/, 'vm_limit'],
  [/Failed to lock auxiliary storage/, 'disk_locked'],
  [/VZErrorDomain|HostKey/, 'start_refused'],
  [/softnet not found|Softnet process terminated/, 'no_softnet'],
  [/the specified VM .* does not exist/, 'not_found'],
  [/failed to open lock file/, 'not_found'],
  [/ is already running!/, 'already_running'],
  [/^VM .* is running$/m, 'already_running'],
  [/ is not running/, 'not_running'],
  [/no IP address found/, 'no_address'],
];

/** Versions before 2.31 have other keys beside these; State came after Running. */
const TartList = z.array(
  z.looseObject({
    Name: z.string(),
    Source: z.string(),
    State: z.enum(['running', 'suspended', 'stopped']).optional(),
    Running: z.boolean().optional(),
  }),
);
const TartVmConfig = z.looseObject({
  macAddress: z.string(),
  cpuCount: z.number().optional(),
  memorySize: z.number().optional(),
});

export interface TartOptions {
  tartPath: string;
  /** Default: what tart would take, `$TART_HOME` or `~/.tart`. */
  tartHome?: string | undefined;
  /** Added to the agent's own environment. */
  env?: Record<string, string> | undefined;
  limitsMs?: Partial<Record<TartStep, number>>;
  /** Put before tart's own words: how root runs it as the account that is logged in. */
  user?: (TartUser & { commands?: { launchctl: string; sudo: string } }) | null;
}

export function createTart({ tartPath, tartHome, env = {}, limitsMs = {}, user = tartUserOf() }: TartOptions): Tart {
  const limits: Record<TartStep, number> = { ...LIMIT_MS, ...limitsMs };
  const home = tartHome ?? env.TART_HOME ?? process.env.TART_HOME ?? join(homedir(), '.tart');
  const environment = { ...env, TART_HOME: home };
  const wordsOf = (args: readonly string[]): [string, ...string[]] =>
    user
      ? [...asTartUser(user, { PATH: process.env.PATH, ...environment }, user.commands), tartPath, ...args]
      : [tartPath, ...args];
  /** `tart run` processes that are our own children: their exit is an event, and their exit code known. */
  const children = new Map<number, Promise<number | null>>();

  async function call(step: TartStep, args: string[], signal?: AbortSignal, limitMs = limits[step]) {
    const [file, ...words] = wordsOf(args);
    const late = new AbortController();
    // Killed, tart may leave a child that holds its pipes; the call ends nonetheless.
    const { promise: abandoned, resolve: abandon } = Promise.withResolvers<null>();
    const timers = [
      awakeTimer(limitMs, () => late.abort()),
      awakeTimer(limitMs + KILL_DELAY_MS * 2, () => abandon(null)),
    ];
    const child = execa(file, words, {
      reject: false,
      stdin: 'ignore',
      cancelSignal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
      forceKillAfterDelay: KILL_DELAY_MS,
      env: environment,
      maxBuffer: 4 * 1024 * 1024,
    });
    const result = await Promise.race([child, abandoned]);
    for (const clear of timers) clear();
    if (result === null || (result.isCanceled && late.signal.aborted))
      return failure(step, 'timeout', null, `tart ${step} did not end within ${limitMs / 1000} s`);
    if (result.isCanceled) return failure(step, 'aborted', null, `tart ${step} was given up`);
    if (result.isMaxBuffer) return failure(step, 'garbage', null, `tart ${step} does not stop printing`);
    if (result.exitCode === 0) return { ok: true as const, stdout: result.stdout };
    if (result.exitCode === undefined && result.signal === undefined)
      return failure(step, 'no_tart', null, `${tartPath} cannot be started (${result.code ?? 'unknown error'})`);
    return explain(step, result.exitCode ?? null, result.stderr);
  }

  const tart: Tart = {
    home,

    async version(signal) {
      const result = await call('version', ['--version'], signal);
      return result.ok ? { ok: true, version: result.stdout.trim() } : result;
    },

    async list(signal) {
      const result = await call('list', ['list', '--format', 'json'], signal);
      if (!result.ok) return result;
      const parsed = TartList.safeParse(parseJson(result.stdout));
      if (!parsed.success)
        return failure(
          'list',
          'garbage',
          0,
          `tart list answered something else than a list: ${z.prettifyError(parsed.error)}`,
        );
      const vms = parsed.data.map(
        ({ Name, Source, State, Running }): TartVm => ({
          name: Name,
          source: Source.toLowerCase() === 'local' ? 'local' : 'oci',
          state: State ?? (Running ? 'running' : 'stopped'),
        }),
      );
      return { ok: true, vms };
    },

    async ip(name, { waitSeconds = 0, signal } = {}) {
      const wait = waitSeconds > 0 ? ['--wait', String(Math.min(Math.ceil(waitSeconds), 65_535))] : [];
      const result = await call('ip', ['ip', name, ...wait], signal, limits.ip + waitSeconds * 1000);
      if (!result.ok) return result;
      const address = result.stdout.trim();
      return z.ipv4().safeParse(address).success
        ? { ok: true, address }
        : failure(
            'ip',
            'garbage',
            0,
            `tart ip answered ${JSON.stringify(address.slice(0, 200))}, which is no IPv4 address`,
          );
    },

    async clone(source, name, signal) {
      const listed = await tart.list(signal);
      if (!listed.ok) return { ...listed, step: 'clone' };
      if (listed.vms.some((vm) => vm.name === name))
        return failure('clone', 'already_exists', null, `a VM named ${name} exists already, and tart would replace it`);
      if (!source.includes('/') && !listed.vms.some((vm) => vm.name === source))
        return failure('clone', 'not_found', null, `there is no VM named ${source} to clone`);
      const result = await call('clone', ['clone', source, name], signal);
      return result.ok ? { ok: true } : result;
    },

    async set(name, { cpus, memoryMb, display }, signal) {
      const listed = await tart.list(signal);
      if (!listed.ok) return { ...listed, step: 'set' };
      if (listed.vms.some((vm) => vm.name === name && vm.state === 'suspended')) return { ok: true };
      const hardware = Object.entries({ '--cpu': cpus, '--memory': memoryMb, '--display': display }).flatMap(
        ([option, value]) => (value === undefined ? [] : [option, String(value)]),
      );
      const result = await call('set', ['set', name, '--random-mac', ...hardware], signal);
      return result.ok ? { ok: true } : result;
    },

    async startRun(name, { logFile, args = [] }) {
      mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
      const log = openSync(logFile, 'a', 0o600);
      // The guest must reach neither the clipboard nor the loudspeaker of the host.
      const options = ['--no-graphics', '--no-audio', '--no-clipboard', ...args];
      // Not execa, which is for commands that end: this one must have nothing to do with us any more.
      const [file, ...words] = wordsOf(['run', name, ...options]);
      const child = spawn(file, words, {
        detached: true,
        stdio: ['ignore', log, log],
        env: { ...process.env, ...environment },
      });
      closeSync(log);
      child.unref();
      const { pid } = child;
      if (pid === undefined) {
        const [{ code }] = (await once(child, 'error')) as [NodeJS.ErrnoException];
        return failure('run', 'no_tart', null, `${tartPath} cannot be started (${code})`);
      }
      const exit = once(child, 'exit').then(([exitCode]) => exitCode as number | null);
      children.set(pid, exit);
      exit.finally(() => children.delete(pid));
      const startTime = await processStartTime(pid);
      if (startTime === null) return tart.explainRunExit(logFile, await exit);
      return { ok: true, run: { pid, startTime } };
    },

    isRunAlive: async ({ pid, startTime }) => (await processStartTime(pid)) === startTime,

    async waitForRunExit(run, signal) {
      signal?.throwIfAborted();
      const own = children.get(run.pid);
      if (own) return { exitCode: await abortable(own, signal) };
      // Another agent's child, adopted after a restart: nobody tells us, so we look.
      while (await tart.isRunAlive(run)) await pause(jittered(RUN_POLL_MS), signal);
      return { exitCode: null };
    },

    async explainRunExit(logFile, exitCode) {
      const tail = await readTail(logFile);
      const explained = explain('run', exitCode, tail);
      const code = exitCode === null ? '' : ` (exit code ${exitCode})`;
      return { ...explained, message: `tart run ended${code}: ${lastLines(tail, 5) || 'it printed nothing'}` };
    },

    async remove(name, { run, signal } = {}) {
      let last: TartFailure | null = null;
      for (let attempt = 0; attempt < REMOVE_TRIES; attempt++) {
        if (attempt > 0) await pause(jittered(REMOVE_PAUSE_MS), signal).catch(() => {});
        if (signal?.aborted) return failure('delete', 'aborted', null, `removing ${name} was given up`);
        const listed = await tart.list(signal);
        if (listed.ok && !listed.vms.some((vm) => vm.name === name)) {
          if (run) await killRun(run);
          return { ok: true };
        }
        last = listed.ok ? last : listed;
        // A stopped VM answers `not_running`; a run that has not yet taken its lock does too, and is killed below.
        const stopped = await call('stop', ['stop', name, '--timeout', String(STOP_GRACE_SECONDS)], signal);
        if (!stopped.ok && stopped.kind !== 'not_running' && stopped.kind !== 'not_found') last = stopped;
        if (run) await killRun(run);
        const deleted = await call('delete', ['delete', name], signal);
        if (!deleted.ok && deleted.kind !== 'not_found') last = deleted;
        const after = await tart.list(signal);
        if (after.ok && !after.vms.some((vm) => vm.name === name)) return { ok: true };
        if (!after.ok) last = after;
      }
      return last ?? failure('delete', 'failed', null, `tart list still shows ${name} after tart delete`);
    },

    async macAddress(name) {
      const read = await readConfig(name);
      if (!read.ok) return read;
      const macAddress = normaliseMac(read.config.macAddress);
      return macAddress
        ? { ok: true, macAddress }
        : failure('get', 'garbage', null, `${read.path} names no MAC address`);
    },

    async hardware(name) {
      const read = await readConfig(name);
      if (!read.ok) return read;
      const { cpuCount, memorySize } = read.config;
      return { ok: true, cpus: cpuCount ?? null, memoryBytes: memorySize ?? null };
    },
  };

  async function readConfig(name: string): Promise<TartResult<{ path: string; config: z.infer<typeof TartVmConfig> }>> {
    const path = join(home, 'vms', name, 'config.json');
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return failure('get', code === 'ENOENT' ? 'not_found' : 'failed', null, `${path} cannot be read (${code})`);
    }
    const parsed = TartVmConfig.safeParse(parseJson(text));
    return parsed.success
      ? { ok: true, path, config: parsed.data }
      : failure('get', 'garbage', null, `${path} names no MAC address`);
  }

  /** Waits a moment for a run that was told to stop, then kills it. Never a later process with the same pid. */
  async function killRun(run: TartRun): Promise<void> {
    const deadline = Date.now() + KILL_DELAY_MS;
    while (await tart.isRunAlive(run)) {
      if (Date.now() > deadline) {
        try {
          process.kill(run.pid, 'SIGKILL');
        } catch {}
        return;
      }
      await sleep(100);
    }
  }

  return tart;
}

function failure(step: TartStep, kind: TartFailureKind, exitCode: number | null, message: string): TartFailure {
  return { ok: false, step, kind, exitCode, message };
}

function explain(step: TartStep, exitCode: number | null, text: string): TartFailure {
  const kind = MEANINGS.find(([pattern]) => pattern.test(text))?.[1] ?? 'failed';
  return failure(step, kind, exitCode, `tart ${step}: ${lastLines(text, 3) || `exit code ${exitCode}`}`);
}

function lastLines(text: string, count: number): string {
  const lines = text.split('\n').map((line) => line.trim().replace(/^Error: /, ''));
  return lines
    .filter((line) => line !== '')
    .slice(-count)
    .join('; ')
    .slice(-1_000);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readTail(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const start = Math.max(0, size - LOG_TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(LOG_TAIL_BYTES), 0, LOG_TAIL_BYTES, start);
    return buffer.toString('utf8', 0, bytesRead);
  } catch {
    return '';
  }
}

/** The promise's value, or the signal's reason as an error if that comes first. */
function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
