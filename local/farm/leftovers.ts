/**
 * Finds and ends every process that works below one folder. This is the last resort, so that an interrupted
 * demo or a failed test leaves nothing behind. A process counts if its environment or its command line names
 * the folder.
 *
 * Invariant: the folder was made for this purpose, so its name occurs nowhere else.
 */
import { execFileSync } from 'node:child_process';
import {
  commandLineOf,
  environmentOf,
  type ProcessId,
  processId,
  processTable,
} from '../../worker-agent/tart-simulator/processes/process-table.ts';

/** This variable is set for every program that is started below a folder and must end with it. */
export const FOLDER_MARK = 'TARTBEAT_BELOW';

const PS_TIMEOUT_MS = 5_000;
const PASSES_MAX = 200;
const PASS_PAUSE_MS = 25;

/** Leaves out this process itself. */
export function processesBelow(folder: string): ProcessId[] {
  if (process.platform === 'darwin') return darwinProcessesBelow(folder);
  return processTable().filter(
    ({ pid }) =>
      pid !== process.pid && [...environmentOf(pid), ...commandLineOf(pid)].some((word) => word.includes(folder)),
  );
}

/** Blocks until all have ended, and returns their number. Throws if some cannot be ended. */
export function endProcessesBelow(folder: string): number {
  const ended = new Set<string>();
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    const found = processesBelow(folder);
    if (found.length === 0) return ended.size;
    for (const { pid, startTime } of found) {
      ended.add(`${pid} ${startTime}`);
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // The process ended in the meantime.
      }
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PASS_PAUSE_MS);
  }
  throw new Error(`these processes did not end: ${processesBelow(folder).map(({ pid }) => pid)}`);
}

/** Reads everything with one `ps`, which shows the environments of programs that are not Apple's own. */
function darwinProcessesBelow(folder: string): ProcessId[] {
  const rows = execFileSync('/bin/ps', ['-axEww', '-o', 'pid=,command='], {
    encoding: 'utf8',
    timeout: PS_TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'ignore'],
  }).split('\n');
  return rows
    .filter((row) => row.includes(folder))
    .map((row) => Number.parseInt(row, 10))
    .filter((pid) => pid !== process.pid)
    .flatMap((pid) => processId(pid) ?? []);
}
