/**
 * Tells a process by its start time from a later process that has the same pid, and finds the process that a
 * wrapper such as sudo has started.
 *
 * Invariant: the start time is an opaque text, which is compared and never parsed.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { execa } from 'execa';

const PS_TIMEOUT_MS = 10_000;

/** Null if no such process lives. A zombie, which has died and was not yet reaped, does not live. */
export async function processStartTime(pid: number): Promise<string | null> {
  return process.platform === 'linux' ? startTicks(pid) : startDate(pid);
}

async function startTicks(pid: number): Promise<string | null> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  // The second field is the command in parentheses, which may contain anything. So count from its end.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? null : fields[19]!;
}

async function startDate(pid: number): Promise<string | null> {
  const { stdout, exitCode } = await execa('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
    reject: false,
    timeout: PS_TIMEOUT_MS,
    env: { LC_ALL: 'C', TZ: 'UTC' },
  });
  const [, state, date] = /^\s*(\S+)\s+(.+?)\s*$/.exec(stdout ?? '') ?? [];
  return exitCode !== 0 || !date || state!.startsWith('Z') ? null : date;
}

/**
 * The process itself, or the first below it that is none of the wrappers. Null if there are only wrappers
 * yet, or no such process.
 */
export async function processBelow(pid: number, wrappers: readonly string[]): Promise<number | null> {
  const { stdout } = await execa('ps', ['-A', '-o', 'pid=,ppid=,stat=,comm='], {
    reject: false,
    timeout: PS_TIMEOUT_MS,
    env: { LC_ALL: 'C' },
  });
  const lines = (stdout ?? '').split('\n').map((line) => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.+?)\s*$/.exec(line));
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
