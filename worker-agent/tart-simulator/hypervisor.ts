/**
 * Runs one VM as long as `tart run` lives: starts the guest, plays its faults, ends it. It is part of the
 * process of `tart run`, which no fault can freeze.
 *
 *   tart run ──ipc── guest (SSH server, guest agent, gateway) ── shells, monitor, build: the "members"
 *      └──── pipe ── reaper: when the pipe closes, `tart run` is dead and it kills the members
 *
 * Invariant: if any of the three is killed, none of them is left a second later.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { PACKET_FILTER } from './guest/environment.ts';
import type { GuestFaults, GuestOptions } from './guest/guest.ts';
import { leaseOf } from './guest/leases.ts';
import { writeMemoryReport, writePanicReport } from './guest/reports.ts';
import { keepSilentAt } from './guest/silence.ts';
import type { Softnet } from './guest/softnet.ts';
import { type Faults, forgetFault, readFaults } from './home/faults.ts';
import { readSettings } from './home/settings.ts';
import { readConfig } from './home/vm-config.ts';
import type { Vm } from './home/vms.ts';
import { Members, VM_MARK } from './processes/members.ts';
import { isAlive, type ProcessId, processId } from './processes/process-table.ts';
import { removeRun, writeRun } from './processes/runs.ts';

/** The way in which a run ended. */
export type RunEnd = 'stopped' | 'suspended' | 'guest_stopped' | 'guest_crashed';

const FAULT_POLL_MS = 50;
const MEMBER_SCAN_EVERY_POLLS = 4;
/** macOS asks every process to end before it restarts. SSH still answers in this time. */
const SHUTDOWN_MIN_MS = 500;
/** After this time the rest is killed. The agent waits 5 s for a guest that goes down. */
const SHUTDOWN_MAX_MS = 3_000;
const RESTART_BOOT_MS = 1_000;
const SHORT_FREEZE_MS = 4_000;
/** The guest makes this file to shut itself down. */
export const SHUTDOWN_REQUEST = '.shutdown';

const MAIN = join(import.meta.dirname, 'main.ts');

export class Hypervisor {
  readonly #vm: Vm;
  readonly #tartHome: string;
  readonly #runId: string;
  readonly #softnet: Softnet | null;
  readonly #members: Members;
  readonly #runner = processId(process.pid)!;
  readonly #end = Promise.withResolvers<RunEnd>();
  readonly #limited = new Set<string>();
  #guest: ChildProcess | undefined;
  #reaper: ChildProcess | undefined;
  #bootAt = performance.now();
  #booted = false;
  /** The start of the guest's restart, and the processes that were asked to end; null without a restart. */
  #goesDown: { sinceMs: number; asked: ProcessId[] } | null = null;
  /** When a short freeze began; null while there is none. */
  #frozenAt: number | null = null;
  #told = '';
  #saved = '';
  #polls = 0;
  #wasFrozen = false;
  #ended = false;

  constructor(tartHome: string, vm: Vm, runId: string, softnet: Softnet | null) {
    this.#tartHome = tartHome;
    this.#vm = vm;
    this.#runId = runId;
    this.#softnet = softnet;
    this.#members = new Members(runId);
  }

  /** Resolves when the VM has ended and all its processes too. */
  async run(): Promise<RunEnd> {
    this.#save();
    this.#startReaper();
    rmSync(join(this.#vm.folder, 'guest', SHUTDOWN_REQUEST), { force: true });
    this.#bootAt = performance.now() + readConfig(this.#vm).simulator.bootMs;
    const timer = setInterval(() => this.#poll(), FAULT_POLL_MS);
    this.#poll();
    const end = await this.#end.promise;
    clearInterval(timer);
    this.#ended = true;
    // Processes that could not be ended stay on the list of the run, and the next command tries again.
    if (this.#members.kill()) removeRun(this.#tartHome, this.#runId);
    this.#reaper?.kill('SIGKILL');
    return end;
  }

  stop(end: RunEnd): void {
    this.#end.resolve(end);
  }

  #poll(): void {
    if (this.#ended) return;
    const faults = readFaults(this.#vm.folder);
    if (faults.has('crash')) this.stop('guest_crashed');
    if (existsSync(join(this.#vm.folder, 'guest', SHUTDOWN_REQUEST))) this.stop('guest_stopped');
    this.#restart(faults);
    if (!this.#guest && this.#mayBoot(faults)) this.#boot(faults);
    this.#tell(faults);
    this.#play(faults);
    if (this.#polls++ % MEMBER_SCAN_EVERY_POLLS === 0 && this.#guest) {
      this.#members.scan();
      this.#save();
    }
  }

  #mayBoot(faults: Faults): boolean {
    const lateMs = Number(faults.get('slow-boot') || 0);
    return !faults.has('boot-hang') && performance.now() >= this.#bootAt + lateMs;
  }

  /** The guest goes down and boots again below the same `tart run`, as when macOS restarts or panics. */
  #restart(faults: Faults): void {
    const kind = (['guest-reboot', 'guest-panic', 'dead-restart'] as const).find((name) => faults.has(name));
    if (!kind || !this.#guest || !this.#booted) return;
    if (kind !== 'guest-panic') {
      this.#goesDown ??= { sinceMs: performance.now(), asked: this.#members.terminate(this.#guest.pid) };
      const { sinceMs, asked } = this.#goesDown;
      const downMs = performance.now() - sinceMs;
      if (downMs < SHUTDOWN_MIN_MS || (downMs < SHUTDOWN_MAX_MS && asked.some(isAlive))) return;
    }
    this.#goesDown = null;
    this.#guest.removeAllListeners('exit');
    this.#members.kill();
    if (kind === 'guest-panic') writePanicReport(this.#vm.folder);
    this.#guest = undefined;
    this.#booted = false;
    this.#told = '';
    this.#limited.clear();
    this.#bootAt = performance.now() + Number(faults.get(kind) || RESTART_BOOT_MS);
    if (kind === 'dead-restart') this.#stayDown();
    forgetFault(this.#vm.folder, kind);
  }

  #stayDown(): void {
    this.#bootAt = Number.POSITIVE_INFINITY;
    const address = leaseOf(this.#tartHome, readConfig(this.#vm).macAddress);
    if (address) keepSilentAt(address, readSettings(this.#tartHome).sshPort);
  }

  #boot(faults: Faults): void {
    const { macAddress, simulator } = readConfig(this.#vm);
    const { sshPort } = readSettings(this.#tartHome);
    const options: GuestOptions = {
      tartHome: this.#tartHome,
      runId: this.#runId,
      folder: this.#vm.folder,
      user: simulator.user,
      macAddress,
      sshPort,
      softnet: this.#softnet,
      faults: guestFaults(faults, this.#isCutOff),
    };
    const guest = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'guest/guest.ts'), JSON.stringify(options)],
      {
        detached: true,
        cwd: this.#vm.folder,
        env: { ...process.env, [VM_MARK]: this.#runId },
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      },
    );
    this.#guest = guest;
    const id = guest.pid && processId(guest.pid);
    if (id) this.#members.remember(id);
    this.#save();
    guest.once('message', () => {
      this.#booted = true;
    });
    guest.once('error', () => this.stop('guest_crashed'));
    guest.once('exit', () => this.stop('guest_crashed'));
  }

  /** The guest has loaded rules of pf. */
  get #isCutOff(): boolean {
    return existsSync(join(this.#vm.folder, 'guest', PACKET_FILTER));
  }

  #tell(faults: Faults): void {
    const message = guestFaults(faults, this.#isCutOff);
    const text = JSON.stringify(message);
    if (!this.#guest?.connected || text === this.#told) return;
    this.#told = text;
    this.#guest.send(message, () => {}); // the exit of a guest that has just died is noticed elsewhere
  }

  #play(faults: Faults): void {
    if (!this.#guest) return;
    // A real VM boots from a full disk. The simulator's guest has to write a file first.
    if (faults.has('disk-full') && this.#booted) this.#limitFiles('0');
    else if (this.#limited.size > 0) this.#limitFiles('unlimited');
    if (faults.has('monitor-kill')) {
      const monitors = this.#members.where((commandLine) => commandLine.includes('vm-monitor.sh'));
      this.#members.killThese(monitors);
      if (monitors.length > 0 && faults.get('monitor-kill') === 'once') forgetFault(this.#vm.folder, 'monitor-kill');
    }
    const victim = faults.get('out-of-memory');
    if (victim !== undefined) this.#exhaustMemory(victim);
    const isFrozen = faults.has('freeze') || this.#isFrozenShortly(faults);
    if (isFrozen) this.#members.stop();
    else if (this.#wasFrozen) this.#members.resume();
    this.#wasFrozen = isFrozen;
  }

  #isFrozenShortly(faults: Faults): boolean {
    const value = faults.get('short-freeze');
    if (value === undefined) return false;
    this.#frozenAt ??= performance.now();
    if (performance.now() < this.#frozenAt + Number(value || SHORT_FREEZE_MS)) return true;
    this.#frozenAt = null;
    forgetFault(this.#vm.folder, 'short-freeze');
    return false;
  }

  #exhaustMemory(victim: string): void {
    const victims = this.#members.where((commandLine) => commandLine.startsWith(victim));
    if (victims.length === 0) return;
    // First, because a reader who sees that a process was killed may look for the report at once.
    writeMemoryReport(this.#vm.folder, victim, victims.length);
    this.#members.killThese(victims);
    forgetFault(this.#vm.folder, 'out-of-memory');
  }

  /**
   * Children inherit the limit. macOS cannot change the limits of a running process: there only df shows the
   * fault.
   */
  #limitFiles(limit: '0' | 'unlimited'): void {
    for (const { pid, startTime } of process.platform === 'linux' ? this.#members.scan() : []) {
      const key = `${pid} ${startTime}`;
      if (this.#limited.has(key) === (limit === '0')) continue;
      spawnSync('prlimit', ['--pid', String(pid), `--fsize=${limit}:`], { stdio: 'ignore', timeout: 5_000 });
      if (limit === '0') this.#limited.add(key);
    }
    if (limit === 'unlimited') this.#limited.clear();
  }

  /**
   * The reaper's standard input closes when this process ends in any way. If the reaper is killed, a new one
   * starts.
   */
  #startReaper(): void {
    const reaper = spawn('/bin/sh', ['-c', 'read _; exec "$@"', 'tart-reaper', process.execPath, MAIN, 'sweep-runs'], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
      env: { ...process.env, TART_HOME: this.#tartHome, NODE_NO_WARNINGS: '1' },
    });
    this.#reaper = reaper;
    reaper.stdin?.on('error', () => {});
    reaper.once('exit', () => this.#ended || this.#startReaper());
  }

  #save(): void {
    const run = { id: this.#runId, vmName: this.#vm.name, runner: this.#runner, members: this.#members.known };
    const text = JSON.stringify(run);
    if (text === this.#saved) return;
    this.#saved = text;
    writeRun(this.#tartHome, run);
  }
}

function guestFaults(faults: Faults, isCutOff: boolean): GuestFaults {
  return {
    ssh: sshOf(faults),
    networkCut: isCutOff || faults.has('net-cut') || faults.has('net-gone'),
    guestAgent: !faults.has('no-guest-agent'),
  };
}

/** Without a network, the packets of open connections are lost. */
function sshOf(faults: Faults): GuestFaults['ssh'] {
  if (faults.has('net-gone')) return 'hang';
  if (faults.has('no-ssh')) return 'refuse';
  return faults.has('ssh-hang') ? 'hang' : 'serve';
}
