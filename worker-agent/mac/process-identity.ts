/**
 * Distinguishes a process by its start time from a later process with the same pid, watches a process at
 * little cost, and finds the process that a wrapper such as sudo has started.
 *
 * Invariant: the start time is an opaque text, which is compared and never parsed.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { execa } from 'execa';
import { hasProcess } from '../../client/has-process.ts';

const PS_TIMEOUT_MS = 10_000;
/**
 * How often the watch asks `ps` for the start time of the process. Another process deceives the watch only if
 * it gets the same pid within this time, and only until the time is over. macOS gives out 99,998 other pids
 * first.
 */
const IDENTITY_MS = 30_000;

/**
 * Null if no such process lives. A zombie, which has died but was not yet reaped, does not live. Undefined if
 * the system gave no answer.
 */
export async function processStartTime(pid: number): Promise<string | null | undefined> {
  return process.platform === 'linux' ? startTicks(pid) : startDate(pid);
}

export interface ProcessIdentity {
  pid: number;
  startTime: string;
}

/**
 * Tells on each call whether the process lives. Signal 0 starts no program and disturbs no process. It alone
 * decides while the system does not tell the start time.
 */
export function watchProcess({ pid, startTime }: ProcessIdentity): { lives(): Promise<boolean> } {
  let identifiedAtMs: number | null = null;
  return {
    async lives() {
      if (!hasProcess(pid)) return false;
      // Uses the wall clock, so that a Mac that has slept for long asks at once.
      const known = identifiedAtMs !== null && Math.abs(Date.now() - identifiedAtMs) < IDENTITY_MS;
      // On Linux reading the start time starts no program, and it shows that a zombie has died.
      if (known && process.platform !== 'linux') return true;
      identifiedAtMs = Date.now();
      const found = await processStartTime(pid);
      return found === undefined ? hasProcess(pid) : found === startTime;
    },
  };
}

async function startTicks(pid: number): Promise<string | null | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    return ['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code!) ? null : undefined;
  }
  // The second field is the command in parentheses, which may contain anything. So count from its end.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? null : fields[19]!;
}

async function startDate(pid: number): Promise<string | null | undefined> {
  const stdout = await ps('-o', 'stat=,lstart=', '-p', String(pid));
  if (stdout === undefined) return undefined;
  const [, state, date] = /^\s*(\S+)\s+(.+?)\s*$/.exec(stdout) ?? [];
  return !date || state!.startsWith('Z') ? null : date;
}

/** The output of `ps`. Undefined if it could not be started or did not end by itself. */
async function ps(...words: string[]): Promise<string | undefined> {
  const { stdout, exitCode } = await execa('ps', words, {
    reject: false,
    timeout: PS_TIMEOUT_MS,
    env: { LC_ALL: 'C', TZ: 'UTC' },
  });
  return exitCode === undefined ? undefined : stdout;
}

/**
 * The process itself, or the first process below it that is not a wrapper. Null if there are only wrappers
 * yet, or no such process. Undefined if the system gave no answer.
 */
export async function processBelow(pid: number, wrappers: readonly string[]): Promise<number | null | undefined> {
  const stdout = await ps('-A', '-o', 'pid=,ppid=,stat=,comm=');
  if (stdout === undefined) return undefined;
  const lines = stdout.split('\n').map((line) => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.+?)\s*$/.exec(line));
  const processes = lines.flatMap((match) =>
    match && !match[3]!.startsWith('Z')
      ? [{ pid: Number(match[1]), parent: Number(match[2]), name: basename(match[4]!) }]
      : [],
  );
  let found = processes.find((one) => one.pid === pid);
  while (found && wrappers.includes(found.name)) {
    const { pid: parent } = found;
    found = processes.find((one) => one.parent === parent);
  }
  return found?.pid ?? null;
}
