/**
 * Keeps the runs of a TART_HOME, one file each in `simulator/runs`, from the start of `tart run` until all
 * its processes have ended. If a `tart run` dies, the run's reaper ends the rest at once. If the reaper died
 * too, the next command does so.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Members } from './members.ts';
import { isAlive, type ProcessId } from './process-table.ts';

export interface Run {
  id: string;
  vmName: string;
  /** The process of `tart run`. */
  runner: ProcessId;
  /** All processes of the VM that were seen and may live. */
  members: ProcessId[];
}

/** Begins with the same characters for all runs of a TART_HOME, so that its stray processes can be found. */
export const newRunId = (tartHome: string) => `${runIdPrefix(tartHome)}-${randomUUID()}`;
export function runIdPrefix(tartHome: string): string {
  const home = existsSync(tartHome) ? realpathSync(tartHome) : tartHome;
  return createHash('sha256').update(home).digest('hex').slice(0, 12);
}

export function writeRun(tartHome: string, run: Run): void {
  mkdirSync(folder(tartHome), { recursive: true });
  const draft = join(folder(tartHome), `.${run.id}`);
  writeFileSync(draft, JSON.stringify(run));
  renameSync(draft, file(tartHome, run.id));
}

export function removeRun(tartHome: string, id: string): void {
  rmSync(file(tartHome, id), { force: true });
}

export function listRuns(tartHome: string): Run[] {
  let names: string[];
  try {
    names = readdirSync(folder(tartHome));
  } catch {
    return [];
  }
  return names
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => {
      try {
        return [JSON.parse(readFileSync(join(folder(tartHome), name), 'utf8')) as Run];
      } catch {
        return []; // it has just ended
      }
    });
}

/** Ends the leftovers of runs whose `tart run` has died. If that fails, the next call tries again. */
export function sweepRuns(tartHome: string): void {
  for (const run of listRuns(tartHome)) {
    if (isAlive(run.runner)) continue;
    if (new Members(run.id, run.members).kill()) removeRun(tartHome, run.id);
  }
}

const folder = (tartHome: string) => join(tartHome, 'simulator', 'runs');
const file = (tartHome: string, id: string) => join(folder(tartHome), `${id}.json`);
