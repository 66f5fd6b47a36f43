/**
 * Finds the processes of a VM, and stops, continues and kills all of them. No other module sends signals to
 * them.
 *
 * A process belongs to a VM if it has the VM's mark in its environment, if an earlier scan saw that it
 * belongs, or if its parent, group leader or session leader belongs. A process escapes if it clears its
 * environment, starts a new session and loses its parent, all between two scans.
 */
import {
  commandLineOf,
  environmentOf,
  isAlive,
  type ProcessId,
  type ProcessRow,
  processTable,
} from './process-table.ts';

/** The variable that marks every process of a VM; its value is the run's id. */
export const VM_MARK = 'TART_SIM_VM';

/** A process that does not belong never will. It is checked again in case its pid has a new process. */
const STRANGERS_EVERY_SCANS = 20;
/** Only needed for processes that the kernel holds: all others end as soon as they get a processor. */
const KILL_TIMEOUT_MS = 10_000;
const PASSES_MAX = 50;

export class Members {
  readonly #mark: string;
  readonly #known: Map<number, string>;
  /** An environment does not change, so each process's environment is read once. */
  readonly #strangers = new Map<number, string>();
  #scans = 0;

  constructor(runId: string, known: readonly ProcessId[] = []) {
    this.#mark = `${VM_MARK}=${runId}`;
    this.#known = new Map(known.map(({ pid, startTime }) => [pid, startTime]));
  }

  /** All members that were seen and may live, so that another process can take over from here. */
  get known(): ProcessId[] {
    return [...this.#known].map(([pid, startTime]) => ({ pid, startTime }));
  }

  remember(id: ProcessId): void {
    this.#known.set(id.pid, id.startTime);
  }

  /**
   * The live members. A member that has ended is remembered while a process of its group or session lives.
   */
  scan(): ProcessRow[] {
    const known = this.#known;
    const strangers = new Set([...this.#strangers.keys()].filter((pid) => !known.has(pid)));
    const table = processTable(this.#scans++ % STRANGERS_EVERY_SCANS === 0 ? undefined : strangers);
    const live = new Map(table.map((row) => [row.pid, row.startTime]));
    const ids = new Set<number>();
    for (const [pid, startTime] of this.#known) if ((live.get(pid) ?? startTime) === startTime) ids.add(pid);
    const marked = table.filter((row) => this.#isMarked(row));
    for (const { pid } of marked) ids.add(pid);
    for (let grown = true; grown; ) {
      grown = false;
      for (const row of table) {
        if (ids.has(row.pid) || row.pid === process.pid) continue;
        if (!ids.has(row.parent) && !ids.has(row.group) && !ids.has(row.session)) continue;
        ids.add(row.pid);
        grown = true;
      }
    }
    ids.delete(process.pid);
    const members = table.filter((row) => ids.has(row.pid));
    const needed = new Set(members.flatMap((row) => [row.pid, row.group, row.session]));
    for (const pid of this.#known.keys()) if (!needed.has(pid)) this.#known.delete(pid);
    for (const member of members) this.#known.set(member.pid, member.startTime);
    return members;
  }

  /**
   * Stops all members, as in a frozen VM. Repeats until a pass finds no process that it has not stopped yet.
   */
  stop(): void {
    const stopped = new Set<string>();
    for (let pass = 0; pass < PASSES_MAX; pass++) {
      const running = this.scan().filter((row) => !stopped.has(`${row.pid} ${row.startTime}`));
      if (running.length === 0) return;
      for (const row of running) {
        signal(row, 'SIGSTOP');
        stopped.add(`${row.pid} ${row.startTime}`);
      }
    }
  }

  resume(): void {
    for (const row of this.scan()) signal(row, 'SIGCONT');
  }

  /**
   * Kills all members and waits for the end. Stops them first, so that none can escape by a fork. False if a
   * member still lives.
   */
  kill(): boolean {
    this.stop();
    const giveUpAt = performance.now() + KILL_TIMEOUT_MS;
    for (let members = this.scan(); members.length > 0; members = this.scan()) {
      if (performance.now() > giveUpAt) return false;
      for (const row of members) signal(row, 'SIGKILL');
      pause(5);
    }
    return true;
  }

  /**
   * Asks all members but one to end, as macOS does before it restarts. Returns the processes it has asked.
   */
  terminate(except: number | undefined): ProcessId[] {
    const asked = this.scan().filter(({ pid }) => pid !== except);
    for (const row of asked) signal(row, 'SIGTERM');
    return asked;
  }

  /** The members whose command line matches. */
  where(matches: (commandLine: string) => boolean): ProcessId[] {
    return this.scan().filter((row) => matches(commandLineOf(row.pid).join(' ')));
  }

  killThese(members: readonly ProcessId[]): void {
    for (const id of members) signal(id, 'SIGKILL');
  }

  #isMarked(row: ProcessRow): boolean {
    if (this.#known.get(row.pid) === row.startTime) return true;
    if (this.#strangers.get(row.pid) === row.startTime) return false;
    if (environmentOf(row.pid).includes(this.#mark)) return true;
    this.#strangers.set(row.pid, row.startTime);
    return false;
  }
}

function signal(id: ProcessId, name: NodeJS.Signals): void {
  try {
    if (isAlive(id)) process.kill(id.pid, name);
  } catch {
    // It has just ended.
  }
}

function pause(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
}
