/**
 * Which address a VM got, by its MAC address: macOS's `/var/db/dhcpd_leases` in small. As there, a lease outlives its
 * VM's run, so that `tart ip` can name an address at which nobody is, or somebody else.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const CANDIDATES_MAX = 256;

export function leaseOf(tartHome: string, macAddress: string): string | undefined {
  try {
    return readFileSync(file(tartHome, macAddress), 'utf8').trim();
  } catch {
    return undefined;
  }
}

export function writeLease(tartHome: string, macAddress: string, address: string): void {
  mkdirSync(folder(tartHome), { recursive: true });
  const draft = `${file(tartHome, macAddress)}.${process.pid}`;
  writeFileSync(draft, `${address}\n`);
  renameSync(draft, file(tartHome, macAddress));
}

export function forgetLease(tartHome: string, macAddress: string): void {
  rmSync(file(tartHome, macAddress), { force: true });
}

/**
 * Addresses that a VM may try to listen at, its own old one first, then some that no other VM of this TART_HOME has.
 * Every 127.x.y.z is this machine on Linux. macOS has 127.0.0.1 alone: one VM at a time there.
 */
export function addressesFor(tartHome: string, macAddress: string): string[] {
  if (process.platform === 'darwin') return ['127.0.0.1'];
  const own = leaseOf(tartHome, macAddress);
  const taken = new Set(others(tartHome, macAddress));
  const derived = Array.from({ length: CANDIDATES_MAX }, (_, try_) => {
    const hash = createHash('sha256').update(`${tartHome} ${macAddress} ${try_}`).digest();
    return `127.64.${hash[0]}.${1 + (hash[1]! % 254)}`;
  });
  return [...(own ? [own] : []), ...derived].filter((address) => !taken.has(address));
}

function others(tartHome: string, macAddress: string): string[] {
  try {
    return readdirSync(folder(tartHome))
      .filter((name) => name !== fileName(macAddress))
      .map((name) => readFileSync(join(folder(tartHome), name), 'utf8').trim());
  } catch {
    return [];
  }
}

const folder = (tartHome: string) => join(tartHome, 'simulator', 'leases');
const fileName = (macAddress: string) => macAddress.replaceAll(':', '-');
const file = (tartHome: string, macAddress: string) => join(folder(tartHome), fileName(macAddress));
