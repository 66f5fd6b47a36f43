/**
 * Lets tests and demos in TypeScript use the simulator: gives its path, lists its processes, and ends all of
 * them.
 */
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Members, VM_MARK } from './processes/members.ts';
import { commandLineOf, environmentOf, isAlive, type ProcessId, processTable } from './processes/process-table.ts';
import { listRuns, removeRun, runIdPrefix } from './processes/runs.ts';

/** The executable: the agent's `tartPath`. Its environment needs only TART_HOME. */
export const TART_SIMULATOR_PATH = join(import.meta.dirname, 'tart');

export interface SimulatorProcess extends ProcessId {
  commandLine: string;
}

const SWEEP_TIMEOUT_MS = 5_000;

/**
 * All live processes of this TART_HOME: `tart` commands, reapers, guests and the processes in them. Empty if
 * nothing was left behind.
 */
export function simulatorProcesses(tartHome: string): SimulatorProcess[] {
  const home = resolve(tartHome);
  const mark = `${VM_MARK}=${runIdPrefix(home)}-`;
  const runs = listRuns(home);
  const known = runs.flatMap((run) => [run.runner, ...new Members(run.id, run.members).scan()]).filter(isAlive);
  const pids = new Set(known.map(({ pid }) => pid));
  return processTable()
    .filter((row) => pids.has(row.pid) || belongs(environmentOf(row.pid)))
    .map(({ pid, startTime }) => ({ pid, startTime, commandLine: commandLineOf(pid).join(' ').trim() }));

  function belongs(environment: readonly string[]): boolean {
    if (environment.some((entry) => entry.startsWith(mark))) return true;
    return environment.includes('TART_SIM_CLI=1') && environment.includes(`TART_HOME=${home}`);
  }
}

/** Ends all processes of this TART_HOME, including running VMs. Rejects if one of them cannot be ended. */
export async function sweepSimulator(tartHome: string): Promise<void> {
  const home = resolve(tartHome);
  const giveUpAt = performance.now() + SWEEP_TIMEOUT_MS;
  for (let left = simulatorProcesses(home); left.length > 0; left = simulatorProcesses(home)) {
    if (performance.now() > giveUpAt)
      throw new Error(`still running: ${left.map((row) => `${row.pid} ${row.commandLine}`).join('; ')}`);
    for (const { pid } of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has just ended.
      }
    }
    await sleep(20);
  }
  for (const run of listRuns(home)) removeRun(home, run.id);
}
