/**
 * Looks at a VM that did not end well, before it is destroyed. The controller finds the cause from that.
 *
 * Invariant: all probes together end within the limit. A failed or hung probe costs its own answer.
 */
import { statfs } from 'node:fs/promises';
import { freemem } from 'node:os';
import { EVIDENCE_ERROR_MAX, EVIDENCE_OUTPUT_MAX, type Evidence } from '#contract';
import { tailOf } from '../build-log/tail.ts';
import { parseBuildStatus, parseDiskFree, parseMemoryKills } from '../guest/answers.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import {
  buildProcesses,
  buildStatus,
  controllerHealth,
  diskFree,
  echoAlive,
  evidence,
  type GuestCommand,
  monitorAlive,
  monitorLog,
} from '../guest/commands.ts';
import { findScripts } from '../guest/installation.ts';
import { parseProcesses } from '../guest/processes.ts';
import type { ExecResult, Ssh } from '../guest/ssh.ts';
import { SshError } from '../guest/ssh-error.ts';
import type { Sleep } from '../mac/sleep-watch.ts';
import type { Tart } from '../tart/tart.ts';
import { lookWithoutNetwork } from '../vm/second-way.ts';
import type { Vm } from '../vm/vm.ts';

const TAIL_LINES = 200;
const TAIL_MAX_BYTES = 48 * 1024;
/** How much is kept of the output of `tart run`, and of the monitor's own log. */
const OUTPUT_MAX_BYTES = 4_096;
/** The share of the limit in which the agent asks over SSH alone, and that of the second way after it. */
const SECOND_WAY_AFTER = 0.1;
const SECOND_WAY_PART = 0.8;
/** Shorter silences of the controller are usual. */
const UNREACHABLE_MIN_MS = 5_000;

export interface EvidenceOptions {
  tart: Tart;
  vmName: string;
  /** Null if it never answered over SSH. */
  vm: Vm | null;
  /** How SSH failed in a VM that never answered. Null for other VMs, or if the VM is not to be asked. */
  unreached: { sshKind: string | undefined } | null;
  key: AttemptKey;
  controllerUrl: string;
  stateDir: string;
  logPath: string;
  runLogPath: string;
  monitorRestarts: number;
  monitorStarted: boolean;
  sleep: Sleep | null;
  controllerUnreachableMs: number;
  limitMs: number;
  /** Takes the secrets of the build out of the command of a process. Null if they are not known. */
  maskCommand: ((command: string) => string) | null;
}

/** Never rejects. */
export async function gatherEvidence(options: EvidenceOptions): Promise<Evidence> {
  const { vm, unreached, sleep, controllerUnreachableMs, limitMs } = options;
  const found: Evidence = { collectedAt: new Date().toISOString() };
  // Each probe writes down its findings at once, so the limit cuts off only those that are still missing.
  const limit = AbortSignal.timeout(limitMs);
  const probes = [probeTart(options, found, limit), probeHost(options, found), probeLogs(options, found)];
  if (vm) probes.push(probeGuest(vm, options, found, limit));
  if (unreached) probes.push(probeUnreached(unreached.sshKind, options, found, limit));
  const expired = new Promise<void>((resolve) => limit.addEventListener('abort', () => resolve(), { once: true }));
  await Promise.race([Promise.allSettled(probes), expired]);
  if (sleep) {
    found.hostAsleepMs = Math.round(sleep.asleepMs);
    found.hostAwakeMs = Math.round(sleep.awakeMs);
  }
  if (controllerUnreachableMs >= UNREACHABLE_MIN_MS)
    found.controllerUnreachableMs = Math.round(controllerUnreachableMs);
  return structuredClone(found); // so that a late probe changes nothing
}

async function probeTart({ tart, vmName, vm }: EvidenceOptions, found: Evidence, signal: AbortSignal): Promise<void> {
  if (vm) found.runExited = vm.exited.aborted;
  const listed = await tart.list(signal);
  if (!listed.ok) return;
  const state = listed.vms.find(({ name, source }) => name === vmName && source === 'local')?.state;
  found.vm = state === undefined ? 'missing' : state === 'running' ? 'running' : 'stopped';
}

/** Looks at the disk with the VMs and at the agent's own. If they are two, the fuller one counts. */
async function probeHost({ tart, stateDir }: EvidenceOptions, found: Evidence): Promise<void> {
  found.hostMemory = { freeBytes: freemem() };
  for (const folder of [tart.home, stateDir]) {
    const space = await statfs(folder).catch(() => null);
    if (!space) continue;
    const freeBytes = space.bavail * space.bsize;
    found.hostDisk = { freeBytes: Math.min(freeBytes, found.hostDisk?.freeBytes ?? freeBytes) };
  }
}

async function probeLogs({ logPath, runLogPath }: EvidenceOptions, found: Evidence): Promise<void> {
  const lines = TAIL_LINES + 1; // one more, for the empty text after the end of the last line
  found.logTail = (await tailOf(logPath, { lines, maxBytes: TAIL_MAX_BYTES })).join('\n');
  found.runOutput = (await tailOf(runLogPath, { lines, maxBytes: OUTPUT_MAX_BYTES })).join('\n');
}

async function probeGuest(vm: Vm, options: EvidenceOptions, found: Evidence, limit: AbortSignal): Promise<void> {
  const { key, controllerUrl, limitMs, monitorRestarts, monitorStarted } = options;
  const startedAt = performance.now();
  const answerMs = Math.round(limitMs / 3);
  let ssh: Ssh;
  let secondLook: Promise<void> | undefined;
  const sshAnswers = new AbortController();
  const lookAgain = () => {
    secondLook ??= probeWithoutNetwork(options, found, AbortSignal.any([limit, sshAnswers.signal]));
  };
  const silent = setTimeout(lookAgain, SECOND_WAY_AFTER * limitMs);
  try {
    ssh = await answeringSsh(vm, answerMs, limit, lookAgain);
    sshAnswers.abort();
    found.ssh = { answers: true, ms: Math.round(performance.now() - startedAt) };
  } catch (error) {
    found.ssh = {
      answers: false,
      error: String((error as Error).message).slice(0, EVIDENCE_ERROR_MAX),
      kind: error instanceof SshError ? error.kind : undefined,
    };
    return secondLook;
  } finally {
    clearTimeout(silent);
  }
  // Without scripts most probes fail, each for itself. Perhaps the check that chooses them did not end.
  await findScripts(ssh, vm.scripts, limit).catch(() => {});
  const ask: Ask = (command, timeoutMs = answerMs) => ssh.exec(command, { timeoutMs, signal: limit });
  const reachMs = 1.5 * answerMs;
  const [, reached] = await Promise.allSettled([
    monitorStarted && probeMonitor(ask, key, monitorRestarts, found),
    probeController(ask, controllerUrl, reachMs, found),
    probeDisk(ask, found),
    probeMemory(ask, found),
    probeBuild(ask, key, found),
    probeProcesses(ask, options, found),
  ]);
  const hung = reached.status === 'rejected' && reached.reason instanceof SshError && reached.reason.kind === 'timeout';
  // SSH has answered about the disk meanwhile, so the request to the controller has hung, not the connection.
  if (hung && found.vmDisk)
    found.controllerFromVm = { reachable: false, detail: `no answer within ${reachMs / 1_000} s` };
}

/** Notes the failure of SSH only for a VM that is known to live. For others it tells nothing. */
async function probeUnreached(
  sshKind: string | undefined,
  options: EvidenceOptions,
  found: Evidence,
  limit: AbortSignal,
): Promise<void> {
  await probeWithoutNetwork(options, found, limit);
  if (sshKind && found.secondWay?.answers) found.ssh = { answers: false, kind: sshKind };
}

async function probeWithoutNetwork(options: EvidenceOptions, found: Evidence, signal: AbortSignal): Promise<void> {
  const { tart, vmName: name, controllerUrl, limitMs } = options;
  const seen = await lookWithoutNetwork({
    ...{ tart, name, controllerUrl, limitMs: SECOND_WAY_PART * limitMs, signal },
    onAlive: (ms) => {
      found.secondWay = { answers: true, ms };
    },
  });
  if (!seen || found.ssh?.answers) return;
  if (seen.answers) found.controllerFromVm = seen.controller ?? undefined;
  else found.secondWay = { answers: false, error: seen.error.slice(0, EVIDENCE_ERROR_MAX) };
}

type Ask = (command: GuestCommand, timeoutMs?: number) => Promise<ExecResult>;

async function probeController(ask: Ask, controllerUrl: string, timeoutMs: number, found: Evidence): Promise<void> {
  const { exitCode, stdout, stderr } = await ask(controllerHealth(controllerUrl), timeoutMs);
  const status = stdout.toString('utf8').trimEnd().split('\n').at(-1) ?? '';
  const reachable = exitCode === 0 && status === '200';
  const detail = reachable ? 'HTTP 200' : `${stderr.trim()} HTTP ${status}`;
  found.controllerFromVm = { reachable, detail: detail.slice(0, EVIDENCE_ERROR_MAX) };
}

async function probeMonitor(ask: Ask, key: AttemptKey, restarts: number, found: Evidence): Promise<void> {
  const { exitCode } = await ask(monitorAlive(key));
  found.monitor = { alive: exitCode === 0, restarts, log: '' };
  const { stdout } = await ask(monitorLog(key, OUTPUT_MAX_BYTES));
  found.monitor.log = stdout.toString('utf8').slice(-EVIDENCE_OUTPUT_MAX);
}

async function probeDisk(ask: Ask, found: Evidence): Promise<void> {
  const { stdout } = await ask(diskFree());
  const disk = parseDiskFree(stdout.toString('utf8'));
  if (!disk || disk.totalBytes === 0) return;
  const usedPercent = Math.round(100 * (1 - disk.availableBytes / disk.totalBytes));
  found.vmDisk = { freeBytes: disk.availableBytes, usedPercent };
}

/** Finds nothing if the build has not been started. */
async function probeBuild(ask: Ask, key: AttemptKey, found: Evidence): Promise<void> {
  const { stdout } = await ask(buildStatus(key));
  const status = parseBuildStatus(stdout.toString('latin1'));
  if (status && status.state !== 'not_started') found.vmRestarted = status.state !== 'running' && status.restarted;
}

/** Arguments may hold secrets, so the agent looks at them only once it knows the secrets. */
async function probeProcesses(ask: Ask, { key, maskCommand }: EvidenceOptions, found: Evidence): Promise<void> {
  if (!maskCommand) return;
  const { stdout } = await ask(buildProcesses(key));
  const processes = parseProcesses(stdout.toString('utf8'), maskCommand);
  if (processes && processes.length > 0) found.processes = processes;
}

async function probeMemory(ask: Ask, found: Evidence): Promise<void> {
  const seen = (await ask(evidence())).stdout.toString('utf8');
  const freeBytes = parseFreeMemory(seen);
  if (freeBytes !== null) found.vmMemory = { freeBytes, outOfMemoryKills: parseMemoryKills(seen) };
}

/**
 * The present connection, or a new one: the present one may be dead although the VM lives. `onFailed` is
 * called in between, because there is no time for one way after the other.
 */
async function answeringSsh(vm: Vm, timeoutMs: number, signal: AbortSignal, onFailed: () => void): Promise<Ssh> {
  try {
    await vm.ssh.exec(echoAlive(), { timeoutMs, signal });
    return vm.ssh;
  } catch {
    onFailed();
    const ssh = await vm.reconnect({ timeoutMs, signal });
    await ssh.exec(echoAlive(), { timeoutMs, signal });
    return ssh;
  }
}

/** From the output of vm_stat on a Mac, or from /proc/meminfo on Linux. */
export function parseFreeMemory(text: string): number | null {
  const available = /^MemAvailable:\s+(\d+) kB/m.exec(text);
  if (available) return Number(available[1]) * 1024;
  const page = /page size of (\d+) bytes/.exec(text);
  const pages = ['free', 'inactive', 'speculative'].map((kind) =>
    new RegExp(`^Pages ${kind}:\\s+(\\d+)`, 'm').exec(text),
  );
  if (!page || !pages[0]) return null;
  return pages.reduce((sum, match) => sum + Number(match?.[1] ?? 0), 0) * Number(page[1]);
}
