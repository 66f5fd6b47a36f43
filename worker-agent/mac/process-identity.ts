/**
 * Tells a process by its start time from a later process that has the same pid, watches one at little cost,
 * and finds the process that a wrapper such as sudo has started.
 *
 * Invariant: the start time is an opaque text, which is compared and never parsed.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { execa } from 'execa';
import { hasProcess } from '../../client/has-process.ts';

const PS_TIMEOUT_MS = 10_000;
/**
 * How often `ps` is asked for the start time of a process that is watched. Only a pid that is given to
 * another process within this time deceives the watch, and for no longer. macOS gives out 99,998 others
 * first.
 */
const IDENTITY_MS = 30_000;

/**
 * Null if no such process lives. A zombie, which has died and was not yet reaped, does not live. Undefined if
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
 * Says again and again whether the process lives. Signal 0 starts no program and reaches no one. Its word
 * alone counts while the system does not tell the start time.
 */
export function watchProcess({ pid, startTime }: ProcessIdentity): { lives(): Promise<boolean> } {
  let identifiedAtMs: number | null = null;
  return {
    async lives() {
      if (!hasProcess(pid)) return false;
      // The clock on the wall: a Mac that has slept for long asks at once.
      const known = identifiedAtMs !== null && Math.abs(Date.now() - identifiedAtMs) < IDENTITY_MS;
      // On Linux the start time costs no program, and a process that nobody reaps is seen to have died.
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

/** What `ps` prints. Undefined if it could not be started or did not end by itself: then nothing is known. */
async function ps(...words: string[]): Promise<string | undefined> {
  const { stdout, exitCode } = await execa('ps', words, {
    reject: false,
    timeout: PS_TIMEOUT_MS,
    env: { LC_ALL: 'C', TZ: 'UTC' },
  });
  return exitCode === undefined ? undefined : stdout;
}

/**
 * The process itself, or the first below it that is none of the wrappers. Null if there are only wrappers
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
