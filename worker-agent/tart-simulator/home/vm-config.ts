/** Reads and writes a VM's `config.json`, in Tart's own form. */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Some blocks of a disk: those that one pull, or one run of a VM, has written. */
export interface Extent {
  id: string;
  bytes: number;
}

export interface VmConfig {
  version: 1;
  os: 'darwin' | 'linux';
  arch: 'arm64';
  macAddress: string;
  cpuCountMin: number;
  cpuCount: number;
  memorySizeMin: number;
  /** In bytes. */
  memorySize: number;
  display: { width: number; height: number; unit?: 'pt' | 'px' };
  displayRefit?: boolean;
  diskFormat: 'raw' | 'asif';
  ecid?: string;
  hardwareModel?: string;
  /**
   * The simulator's own field: the user who may log in, the time from `tart run` until SSH answers, and the
   * VM's extents on a simulated disk.
   */
  simulator: { user: string; bootMs: number; extents?: Extent[] };
}

export function readConfig(vm: { folder: string }): VmConfig {
  return JSON.parse(readFileSync(join(vm.folder, 'config.json'), 'utf8'));
}

export function writeConfig(vm: { folder: string }, config: VmConfig): void {
  const draft = join(vm.folder, `.config.json.${process.pid}`);
  writeFileSync(draft, `${JSON.stringify(config, null, 2)}\n`);
  renameSync(draft, join(vm.folder, 'config.json'));
}

/** A locally administered unicast address, as Apple's Virtualization makes them. */
export function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return bytes.toString('hex').replace(/..(?=.)/g, '$&:');
}
