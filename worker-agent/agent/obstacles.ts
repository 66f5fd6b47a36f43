/**
 * Looks for obstacles that would cost the next build its VM on this Mac: no image, other VMs, nobody logged
 * in, or a full disk.
 *
 * Invariant: a look changes nothing, and every look ends.
 */
import { statfs } from 'node:fs/promises';
import { type AgentConfig, VMS_PER_MAC_MAX } from '../config.ts';
import { isOfRunningDoctor } from '../health-checks/clone-checks.ts';
import { GB_BYTES, inGb } from '../health-checks/figures.ts';
import { roomForClone } from '../images/disk-plan.ts';
import type { Images } from '../images/images.ts';
import type { Mac } from '../mac/programs.ts';
import { tartUserOf } from '../mac/run-as.ts';
import type { TartVm } from '../tart/answers.ts';
import type { Tart } from '../tart/tart.ts';
import type { CloneGrowth } from './clone-growth.ts';

export interface Place {
  tart: Pick<Tart, 'list' | 'isLinux' | 'home'>;
  mac: Mac;
  config: Pick<AgentConfig, 'minFreeDiskGb'>;
  growth: CloneGrowth;
  images: Pick<Images, 'see'>;
}

/**
 * The obstacle in words for people. Null if a build can have its VM. `ours` are the VMs that take a slot of
 * this agent.
 */
export async function findObstacle(place: Place, ours: readonly string[], signal: AbortSignal): Promise<string | null> {
  return (
    (await lookAtDisk(place, ours)) ??
    (await lookAtVms(place, ours, signal)) ??
    (await lookAtConsole(place.mac, signal))
  );
}

async function lookAtVms(
  { tart, images }: Place,
  ours: readonly string[],
  signal: AbortSignal,
): Promise<string | null> {
  const listed = await tart.list(signal);
  if (!listed.ok) return listed.message;
  const withoutImage = images.see(new Set(listed.vms.map(({ name }) => name)));
  if (withoutImage !== null) return withoutImage;
  const others: string[] = [];
  for (const { name } of listed.vms.filter((vm) => isOther(vm, ours)))
    if (!(await tart.isLinux(name))) others.push(name);
  if (others.length === 0 || ours.length + others.length < VMS_PER_MAC_MAX) return null;
  const those = ours.length > 0 ? ', beside those of this agent' : '';
  return `macOS allows ${VMS_PER_MAC_MAX} macOS VMs at a time, and other VMs run here${those}: ${others.join(', ')}`;
}

/** The obstacle after macOS has refused a `tart run`. `message` has Tart's own words. */
export const vmLimitWords = (message: string): string =>
  `macOS allows ${VMS_PER_MAC_MAX} macOS VMs at a time and has just refused another one (${message}); the agent tries again within two minutes`;

/** A VM that counts against the limit of macOS, and that no attempt of this agent has. */
const isOther = ({ name, source, state }: TartVm, ours: readonly string[]): boolean =>
  source === 'local' && !ours.includes(name) && (state === 'running' || isOfRunningDoctor(name));

/** VMs start only in the session of an account that is logged in. */
async function lookAtConsole(mac: Mac, signal: AbortSignal): Promise<string | null> {
  const uid = mac.uid === 0 ? tartUserOf()?.uid : mac.uid;
  if (mac.platform !== 'darwin' || uid === undefined) return null;
  const console = await mac.run('stat', ['-f', '%u', '/dev/console'], signal);
  if (console.exitCode !== 0 || console.stdout.trim() === String(uid)) return null;
  // Somebody else is at the screen, or nobody. With fast user switching the account still has its session.
  const session = await mac.run('launchctl', ['print', `gui/${uid}`], signal);
  if (session.exitCode === 0 || session.exitCode === null) return null;
  return `the account ${mac.user} is not logged in on this Mac, and VMs start only in its session`;
}

async function lookAtDisk(place: Place, ours: readonly string[]): Promise<string | null> {
  const { tart, config, growth } = place;
  const space = await statfs(tart.home).catch(() => null);
  if (!space) return null;
  const grownGb = (await growth.of(ours)).map((bytes) => bytes / GB_BYTES);
  const neededBytes = roomForClone(config.minFreeDiskGb, grownGb) * GB_BYTES;
  const freeBytes = space.bavail * space.bsize;
  if (freeBytes >= neededBytes) return null;
  const others = ours.length > 0 ? ' for another clone and for what the running ones may still grow by' : '';
  return `the disk with the VMs has ${inGb(freeBytes)} free, and ${inGb(neededBytes)} are needed${others}`;
}
