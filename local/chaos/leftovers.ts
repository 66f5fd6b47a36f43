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
/** The longest that a doctor may still examine its Mac. */
const DOCTOR_MAX_MS = 4 * 60_000;

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
 * Looks for leftovers when no build runs any more. It asks tart and the process table. A doctor that still
 * examines its Mac has longer than `withinMs`, because it deletes its VM itself.
 */
export async function leftOnMacs(farm: Farm, withinMs: number, signal: AbortSignal): Promise<Left> {
  const vms: string[] = [];
  const processes: string[] = [];
  for (const [index, mac] of farm.macs.entries()) {
    const listed = async () => (await mac.vms()).map(({ name }) => `${name} on Mac ${index + 1}`);
    vms.push(...(await untilEmpty(listed, withinMs, signal)));
    const living = () => simulatorProcesses(mac.tartHome).map(({ pid, commandLine }) => `${pid} ${commandLine}`);
    processes.push(...(await untilEmpty(living, withinMs, signal)));
  }
  return { vms, processes };
}

async function untilEmpty(look: () => string[] | Promise<string[]>, withinMs: number, signal: AbortSignal) {
  const beganAt = performance.now();
  for (;;) {
    const left = await look();
    const limitMs = left.every(isOfDoctor) ? Math.max(DOCTOR_MAX_MS, withinMs) : withinMs;
    if (left.length === 0 || performance.now() > beganAt + limitMs) return left;
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** True for a VM, and for a command line, of a doctor that runs. */
function isOfDoctor(left: string): boolean {
  const vmName = /tartbeat-doctor-[\w-]+/.exec(left)?.[0];
  return vmName !== undefined && isOfRunningDoctor(vmName);
}
