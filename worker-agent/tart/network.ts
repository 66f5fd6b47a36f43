/**
 * What a VM's network is kept from, as options of `tart run`. Pure but for looking up the controller's addresses.
 *
 *   nat         Tart's own network: the guest reaches the Mac, the local network and the internet
 *   softnet     Tart's filter: the guest reaches the Mac's side of its network and the internet, not the local network,
 *               and cannot pass itself off as another guest
 *   controller  softnet, and nothing but the controller: no registry, so nothing can be installed during a build
 *
 * softnet knows addresses, not names, and IPv4 alone: it passes no IPv6. It lets the guest reach the Mac itself: what listens there is to be
 * closed there.
 */
import { lookup } from 'node:dns/promises';

export const ISOLATIONS = ['nat', 'softnet', 'controller'] as const;
export type Isolation = (typeof ISOLATIONS)[number];

/** What each means, for people. */
export const ISOLATION_MEANS: Record<Isolation, string> = {
  nat: 'nat: VMs reach this Mac, your local network and the internet',
  softnet: 'softnet: VMs reach this Mac and the internet, not your local network',
  controller: 'controller: VMs reach this Mac and the controller, nothing else; installs from registries fail',
};

/** Pure. `addresses` are the controller's, for `controller` alone. */
export function networkArgs(isolation: Isolation, addresses: readonly string[]): string[] {
  if (isolation === 'nat') return [];
  if (isolation === 'softnet') return ['--net-softnet'];
  const allowed = addresses.map((address) => `${address}/32`).join(',');
  return ['--net-softnet', '--net-softnet-block=0.0.0.0/0', `--net-softnet-allow=${allowed}`];
}

/** The IPv4 addresses of the controller as the VM is told of it. Rejects if its name has none. */
export async function controllerAddresses(url: string): Promise<string[]> {
  const found = await lookup(new URL(url).hostname, { all: true, family: 4 });
  return [...new Set(found.map(({ address }) => address))].sort();
}

/** For a VM that starts now: a controller behind changing addresses is looked up for each. */
export async function networkArgsFor(isolation: Isolation, vmControllerUrl: string): Promise<string[]> {
  return networkArgs(isolation, isolation === 'controller' ? await controllerAddresses(vmControllerUrl) : []);
}
