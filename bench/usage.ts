/** Reads from `ps` what processes use: memory while a task runs, CPU time between two moments. */
import { execFileSync } from 'node:child_process';
import { processesBelow } from '../local/farm/leftovers.ts';
import { commandLineOf } from '../worker-agent/tart-simulator/processes/process-table.ts';

const SAMPLE_MS = 200;
const MIB = 1024 * 1024;

/** The processes that run Workers for a controller in `dir` (local/farm/controller.ts). */
export const workerdBelow = (dir: string): number[] =>
  processesBelow(dir)
    .map(({ pid }) => pid)
    .filter((pid) => /(^|\/)workerd$/.test(commandLineOf(pid)[0] ?? ''));

/** The largest total memory of the processes during `work`, in MiB. */
export async function peakMib<T>(pids: readonly number[], work: () => Promise<T>): Promise<[T, number]> {
  let peak = 0;
  const look = () => {
    peak = Math.max(peak, Math.round((ps(pids, 'rss').reduce((sum, kib) => sum + Number(kib), 0) * 1024) / MIB));
  };
  look();
  const timer = setInterval(look, SAMPLE_MS);
  try {
    return [await work(), peak];
  } finally {
    clearInterval(timer);
  }
}

/** The total CPU time of the processes so far, in seconds. */
export const cpuSeconds = (pids: readonly number[]): number =>
  ps(pids, 'time').reduce((sum, time) => sum + secondsOf(time), 0);

function ps(pids: readonly number[], column: string): string[] {
  try {
    return execFileSync('ps', ['-o', `${column}=`, '-p', pids.join(',')], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean);
  } catch {
    return []; // the processes have ended
  }
}

/** Parses `[[days-]hours:]minutes:seconds`. */
function secondsOf(time: string): number {
  const [clock = '', days = '0'] = time.trim().split('-').reverse();
  return clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + Number(days) * 86_400;
}
