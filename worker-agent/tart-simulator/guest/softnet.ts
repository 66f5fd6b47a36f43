/**
 * Decides which addresses Tart's softnet lets a VM reach. Pure.
 *
 * softnet knows only IPv4. It always passes the host, and it refuses addresses that are not on the internet.
 * If a network of `allow` and one of `block` contain the address, the narrower one decides, and `block` if
 * they are equal.
 */
import { BlockList, isIPv4 } from 'node:net';

export interface Softnet {
  allow: readonly string[];
  block: readonly string[];
}

const NOT_ON_THE_INTERNET = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '224.0.0.0/3',
];

export function softnetPasses({ allow, block }: Softnet, host: string, address: string): boolean {
  if (address === host) return true;
  if (!isIPv4(address)) return false;
  const narrowest = (networks: readonly string[]) =>
    Math.max(-1, ...networks.filter((network) => contains(network, address)).map(prefixOf));
  const [allowed, blocked] = [narrowest(allow), narrowest(block)];
  if (allowed < 0 && blocked < 0) return !NOT_ON_THE_INTERNET.some((network) => contains(network, address));
  return allowed > blocked;
}

const prefixOf = (network: string) => Number(network.split('/')[1] ?? 32);

function contains(network: string, address: string): boolean {
  const list = new BlockList();
  list.addSubnet(network.split('/')[0]!, prefixOf(network), 'ipv4');
  return list.check(address, 'ipv4');
}
