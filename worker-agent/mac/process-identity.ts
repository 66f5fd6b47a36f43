/**
 * Tells a process from a later one that was given the same pid, by its start time. An opaque text: compare, never parse.
 */
import { readFile } from 'node:fs/promises';
import { execa } from 'execa';

const PS_TIMEOUT_MS = 10_000;

/** Null when no such process lives; one that has died and was not yet reaped does not live. */
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
  // The second field is the command in parentheses and may hold anything; count from its end.
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
