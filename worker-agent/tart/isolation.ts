/**
 * Turns `isolation` into options of `tart run`: which networks a VM may reach. Pure, except for looking up
 * the controller's addresses.
 *
 *   nat         Tart's own network: the guest reaches the Mac, the local network and the internet
 *   softnet     Tart's filter: the guest reaches the Mac's side of its network and the internet, but not the
 *               local network, and it cannot pretend to be another guest
 *   controller  softnet, and the controller alone: the guest reaches no registry, so builds install nothing
 *
 * softnet filters by address, not by name, and it passes only IPv4. It lets the guest reach the Mac itself,
 * so a service that listens on the Mac must be closed there.
 */
import { lookup } from 'node:dns/promises';
import type { Isolation } from '../config.ts';

/** The meaning of each value of `isolation`, for people. */
export const ISOLATION_MEANS: Record<Isolation, string> = {
  nat: 'nat: VMs reach this Mac, your local network and the internet',
  softnet: 'softnet: VMs reach this Mac and the internet, not your local network',
  controller: 'controller: VMs reach this Mac and the controller, nothing else; installs from registries fail',
};

/** `addresses` are the controller's; only `controller` uses them. */
export function networkArgs(isolation: Isolation, addresses: readonly string[]): string[] {
  if (isolation === 'nat') return [];
  if (isolation === 'softnet') return ['--net-softnet'];
  const allowed = addresses.map((address) => `${address}/32`).join(',');
  return ['--net-softnet', '--net-softnet-block=0.0.0.0/0', `--net-softnet-allow=${allowed}`];
}

/** The IPv4 addresses of a controller's URL. Rejects if its name has none. */
export async function controllerAddresses(url: string): Promise<string[]> {
  const found = await lookup(new URL(url).hostname, { all: true, family: 4 });
  return [...new Set(found.map(({ address }) => address))].sort();
}

/** Looks the controller up for each VM that starts, because its addresses may change. */
export async function networkArgsFor(isolation: Isolation, vmControllerUrl: string): Promise<string[]> {
  return networkArgs(isolation, isolation === 'controller' ? await controllerAddresses(vmControllerUrl) : []);
}
