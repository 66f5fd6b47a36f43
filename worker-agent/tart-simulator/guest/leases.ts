/**
 * Keeps the address of each VM, by its MAC address, as macOS does in `/var/db/dhcpd_leases`. As on macOS, a
 * lease outlives the run of its VM, so `tart ip` may print an address at which no VM or another VM answers.
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
 * Addresses at which a VM may try to listen: first its old one, then some that no other VM of this TART_HOME
 * has. On Linux every 127.x.y.z is this machine. macOS has only 127.0.0.1, so only one VM can run there at a
 * time.
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
