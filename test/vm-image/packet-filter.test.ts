/**
 * Compares the rules in packet-filter.conf with a table of addresses. Linux has no pf, so the test itself
 * reads the part of pf's language that the file uses. It fails on everything else.
 */
import { readFileSync } from 'node:fs';
import { BlockList, isIPv6 } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const TEMPLATE = readFileSync(join(import.meta.dirname, '../../vm-image/packet-filter.conf'), 'utf8');

interface Packet {
  direction: 'in' | 'out';
  on?: string;
  protocol: 'tcp' | 'udp' | 'ipv6-icmp';
  from?: number;
  to: string;
  port?: number;
}

/** All rules are quick, so the first one that matches decides. A packet without a matching rule passes. */
function verdictOf(rules: string, packet: Packet): 'pass' | 'block' {
  const macros = new Map<string, string>();
  for (const line of rules.split('\n').map((text) => text.replace(/#.*/, '').trim())) {
    if (line === '') continue;
    const macro = /^(\w+) = "(.*)"$/.exec(line);
    if (macro) {
      macros.set(macro[1]!, macro[2]!);
      continue;
    }
    const text = line.replace(/\$(\w+)/g, (_, name) => macros.get(name) ?? fail(`no macro ${name}`));
    const rule =
      /^(pass|block return) (in|out) quick( on (?<on>\w+))?( (?<family>inet6?))?( proto (?<proto>[\w-]+|\{[^}]*\}))?( all| from any( port (?<from>\d+))? to (?<to>any|\{[^}]*\})?( ?(any )?port (?<port>\d+))?)( keep state)?$/.exec(
        text,
      ) ?? fail(`not understood: ${text}`);
    const { on, family, proto, from, to, port } = rule.groups!;
    const fits =
      rule[2] === packet.direction &&
      (!on || on === packet.on) &&
      (!family || (family === 'inet6') === isIPv6(packet.to)) &&
      (!proto || listOf(proto).includes(packet.protocol)) &&
      (!from || Number(from) === packet.from) &&
      (!to || to === 'any' || isIn(packet.to, listOf(to))) &&
      (!port || Number(port) === packet.port);
    if (fits) return rule[1] === 'pass' ? 'pass' : 'block';
  }
  return 'pass';
}

const listOf = (text: string) =>
  text
    .replace(/^\{|\}$/g, '')
    .split(/[\s,]+/)
    .filter(Boolean);

function isIn(address: string, networks: string[]): boolean {
  const list = new BlockList();
  const family = (text: string) => (isIPv6(text) ? 'ipv6' : 'ipv4');
  for (const network of networks) {
    const [base = '', bits] = network.split('/');
    if (bits) list.addSubnet(base, Number(bits), family(base));
    else list.addAddress(base, family(base));
  }
  return list.check(address, family(address));
}

function fail(message: string): never {
  throw new Error(message);
}

const RULES = TEMPLATE.replace('CONTROLLER', '10.1.2.3, 2001:db8::7, fd00::7');
const tcp = (to: string, port = 443): Packet => ({ direction: 'out', protocol: 'tcp', to, port });
const udp = (to: string, port: number, from?: number): Packet => ({
  direction: 'out',
  protocol: 'udp',
  to,
  port,
  ...(from !== undefined && { from }),
});

test.for<[string, Packet, 'pass' | 'block']>([
  ['the metadata address', tcp('169.254.169.254', 80), 'block'],
  ['the metadata address over UDP', udp('169.254.169.254', 53), 'block'],
  ['the metadata address of IPv6', tcp('fd00:ec2::254', 80), 'block'],
  ['another link-local address', tcp('169.254.1.1'), 'block'],
  ['an office network', tcp('10.0.0.1'), 'block'],
  ['the end of it', tcp('10.255.255.255'), 'block'],
  ['172.15, which is public', tcp('172.15.255.255'), 'pass'],
  ['172.16', tcp('172.16.0.1', 22), 'block'],
  ['172.31', tcp('172.31.255.255'), 'block'],
  ['172.32, which is public', tcp('172.32.0.1'), 'pass'],
  ['a home network', tcp('192.168.1.1', 80), 'block'],
  ['another VM', tcp('192.168.64.7', 22), 'block'],
  ['a carrier’s network', tcp('100.64.0.1'), 'block'],
  ['100.63, which is public', tcp('100.63.255.255'), 'pass'],
  ['a unique local address of IPv6', tcp('fd12:3456::1'), 'block'],
  ['a link-local one', tcp('fe80::1'), 'block'],
  ['a neighbour asked for', { direction: 'out', protocol: 'ipv6-icmp', to: 'fe80::1' }, 'pass'],
  ['the internet', tcp('93.184.215.14'), 'pass'],
  ['the internet over IPv6', tcp('2606:2800::1'), 'pass'],
  ['a resolver elsewhere', udp('1.1.1.1', 53), 'pass'],
  ['the controller in a private network', tcp('10.1.2.3', 8787), 'pass'],
  ['its neighbour', tcp('10.1.2.4', 8787), 'block'],
  ['the controller at a unique local address', tcp('fd00::7'), 'pass'],
  ['the controller over UDP, which nobody needs', udp('10.1.2.3', 443), 'block'],
  ['an address from the gateway', udp('192.168.64.1', 67, 68), 'pass'],
  ['an address asked for by broadcast', udp('255.255.255.255', 67, 68), 'pass'],
  ['names from the gateway', udp('192.168.64.1', 53), 'pass'],
  ['long answers about names', tcp('192.168.64.1', 53), 'pass'],
  ['all else of the Mac', tcp('192.168.64.1', 22), 'block'],
  ['the VM itself', { ...tcp('192.168.64.9', 8081), on: 'lo0' }, 'pass'],
  ['SSH from the Mac', { direction: 'in', protocol: 'tcp', to: '192.168.64.9', port: 22 }, 'pass'],
])('%s: %j is to %s', ([, packet, verdict]) => {
  expect(verdictOf(RULES, packet)).toBe(verdict);
});

test('every rule is decisive and of a kind that this test knows', () => {
  const rules = TEMPLATE.split('\n').filter((line) => /^(pass|block)/.test(line));
  expect(rules.length).toBe(7);
  for (const rule of rules) expect(rule).toContain(' quick ');
  expect(verdictOf(RULES, { direction: 'in', protocol: 'udp', to: '192.168.64.9', port: 5353 })).toBe('pass');
});
