/**
 * Tells a process by its start time from a later process that has the same pid.
 *
 * Invariant: the start time is an opaque text, which is compared and never parsed.
 */
import { readFile } from 'node:fs/promises';
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
