/**
 * Runs one VM as long as `tart run` lives: starts the guest, plays its faults, ends it. It is part of the
 * process of `tart run`, which no fault can freeze.
 *
 *   tart run ──ipc── guest (SSH server, gateway) ── shells, monitor, build: the "members"
 *      └──── pipe ── reaper: when the pipe closes, `tart run` is dead and it kills the members
 *
 * Invariant: if any of the three is killed, none of them is left a second later.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { GuestFaults, GuestOptions } from './guest/guest.ts';
import type { Softnet } from './guest/softnet.ts';
import { type Faults, readFaults } from './home/faults.ts';
import { readSettings } from './home/settings.ts';
import { readConfig } from './home/vm-config.ts';
import type { Vm } from './home/vms.ts';
import { Members, VM_MARK } from './processes/members.ts';
import { processId } from './processes/process-table.ts';
import { removeRun, writeRun } from './processes/runs.ts';

/** The way in which a run ended. */
export type RunEnd = 'stopped' | 'suspended' | 'guest_stopped' | 'guest_crashed';

const FAULT_POLL_MS = 50;
const MEMBER_SCAN_EVERY_POLLS = 4;
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

  /** Resolves when the VM has ended and no process of it is left. */
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
    this.#members.kill();
    removeRun(this.#tartHome, this.#runId);
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
      faults: guestFaults(faults),
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

  #tell(faults: Faults): void {
    const message = guestFaults(faults);
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
      const killed = this.#members.killWhere((commandLine) => commandLine.includes('vm-monitor.sh'));
      if (killed > 0 && faults.get('monitor-kill') === 'once')
        rmSync(join(this.#vm.folder, 'faults', 'monitor-kill'), { force: true });
    }
    if (faults.has('freeze')) this.#members.stop();
    else if (this.#wasFrozen) this.#members.resume();
    this.#wasFrozen = faults.has('freeze');
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

function guestFaults(faults: Faults): GuestFaults {
  return {
    ssh: faults.has('no-ssh') ? 'refuse' : faults.has('ssh-hang') ? 'hang' : 'serve',
    networkCut: faults.has('net-cut'),
  };
}
