/**
 * Finds the leftovers of builds that have ended: VMs on the disks of the Macs, VMs that tart lists,
 * processes.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isOfRunningDoctor } from '../../worker-agent/health-checks/clone-checks.ts';
import { simulatorProcesses } from '../../worker-agent/tart-simulator/simulator.ts';
import type { Farm } from '../farm/farm.ts';

const POLL_MS = 500;

export const vmFolder = (tartHome: string, vmName: string): string => join(tartHome, 'vms', vmName);

/**
 * Waits up to `withinMs`. Resolves with the names of the build's VMs that are still on a disk of the farm.
 */
export async function vmsLeftOf(farm: Farm, buildId: string, withinMs: number, signal: AbortSignal): Promise<string[]> {
  const look = () =>
    farm.macs.flatMap(({ tartHome }) => readdirSync(join(tartHome, 'vms')).filter((name) => name.includes(buildId)));
  return untilEmpty(look, withinMs, signal);
}

export interface Left {
  vms: string[];
  processes: string[];
}

/**
 * Looks for leftovers when no build runs any more. It asks tart and the process table. The VM of a doctor
 * that still examines its Mac does not count, because the doctor deletes it.
 */
export async function leftOnMacs(farm: Farm, withinMs: number, signal: AbortSignal): Promise<Left> {
  const vms: string[] = [];
  const processes: string[] = [];
  for (const [index, mac] of farm.macs.entries()) {
    const listed = async () =>
      (await mac.vms()).flatMap(({ name }) => (isOfRunningDoctor(name) ? [] : `${name} on Mac ${index + 1}`));
    vms.push(...(await untilEmpty(listed, withinMs, signal)));
    const living = () =>
      simulatorProcesses(mac.tartHome).flatMap(({ pid, commandLine }) => {
        const ofDoctor = /tartbeat-doctor-[\w-]+/.exec(commandLine)?.[0];
        return ofDoctor && isOfRunningDoctor(ofDoctor) ? [] : `${pid} ${commandLine}`;
      });
    processes.push(...(await untilEmpty(living, withinMs, signal)));
  }
  return { vms, processes };
}

async function untilEmpty(look: () => string[] | Promise<string[]>, withinMs: number, signal: AbortSignal) {
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    const left = await look();
    if (left.length === 0 || performance.now() > giveUpAt) return left;
    await sleep(POLL_MS, undefined, { signal });
  }
}
