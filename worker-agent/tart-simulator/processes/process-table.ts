/**
 * Reads the operating system's list of processes: /proc on Linux, `ps` on macOS. No other module reads
 * either.
 *
 * Invariant: a process is its pid together with its start time, because pids are used again.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessId {
  pid: number;
  /** An opaque text, which is equal only for the same process. */
  startTime: string;
}

export interface ProcessRow extends ProcessId {
  parent: number;
  group: number;
  session: number;
}

const PS_TIMEOUT_MS = 5_000;

/** All live processes except these. Zombies have ended, so they are left out. */
export function processTable(except: ReadonlySet<number> = new Set()): ProcessRow[] {
  return process.platform === 'linux' ? linuxTable(except) : psTable().filter(({ pid }) => !except.has(pid));
}

export function isAlive(id: ProcessId): boolean {
  return processId(id.pid)?.startTime === id.startTime;
}

/** Undefined if no live process has this pid. */
export function processId(pid: number): ProcessId | undefined {
  const row = process.platform === 'linux' ? linuxRow(pid) : psTable(['-p', String(pid)])[0];
  return row && { pid: row.pid, startTime: row.startTime };
}

/** The environment that the process was started with. Empty if it may not be read, and always on macOS. */
export function environmentOf(pid: number): readonly string[] {
  return readWords(`/proc/${pid}/environ`);
}

export function commandLineOf(pid: number): readonly string[] {
  if (process.platform === 'linux') return readWords(`/proc/${pid}/cmdline`);
  return ps(['-o', 'command=', '-p', String(pid)])
    .trim()
    .split(' ');
}

function linuxTable(except: ReadonlySet<number>): ProcessRow[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && !except.has(Number(entry)))
    .flatMap((entry) => linuxRow(Number(entry)) ?? []);
}

function linuxRow(pid: number): ProcessRow | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined; // it has ended
  }
  // The second field is the program's name in brackets, and the name may contain blanks and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return {
    pid,
    parent: Number(fields[1]),
    group: Number(fields[2]),
    session: Number(fields[3]),
    startTime: fields[19]!,
  };
}

/** macOS prints a session as an address in the kernel, so the process group stands for it. */
function psTable(which: string[] = ['-ax']): ProcessRow[] {
  return ps([...which, '-o', 'pid=,ppid=,pgid=,stat=,lstart='])
    .split('\n')
    .flatMap((line) => {
      const [pid, parent, group, state, ...startTime] = line.trim().split(/\s+/);
      if (!pid || !state || state.startsWith('Z')) return [];
      return [
        {
          pid: Number(pid),
          parent: Number(parent),
          group: Number(group),
          session: Number(group),
          startTime: startTime.join(' '),
        },
      ];
    });
}

function ps(args: string[]): string {
  try {
    return execFileSync('/bin/ps', args, {
      encoding: 'utf8',
      timeout: PS_TIMEOUT_MS,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return ''; // `ps -p` fails for a process that has ended
  }
}

function readWords(path: string): readonly string[] {
  try {
    return readFileSync(path, 'utf8').split('\0');
  } catch {
    return []; // it has ended, belongs to another user, or there is no /proc
  }
}
