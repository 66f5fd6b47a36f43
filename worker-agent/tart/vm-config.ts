/**
 * Reads a VM's `config.json`, in which Tart keeps its MAC address and its hardware, and the size of its disk.
 * `tart get` prints no MAC address, and the size in whole GB.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { failure, parseJson, type TartFailure, type TartResult } from './answers.ts';

const TartVmConfig = z.looseObject({
  macAddress: z.string(),
  os: z.string().optional().catch(undefined),
  cpuCount: z.number().optional().catch(undefined),
  memorySize: z.number().optional().catch(undefined),
});
const MAC_ADDRESS = /^\s*[0-9a-f]{1,2}(?::[0-9a-f]{1,2}){5}\s*$/i;

export interface TartVmConfigs {
  /** The MAC address as Tart has written it. */
  macAddress(name: string): Promise<TartResult<{ macAddress: string }>>;
  /** True for a Linux VM. macOS lets any number of these run. False also if the file cannot be read. */
  isLinux(name: string): Promise<boolean>;
  /** Null for a figure that the file does not have. */
  hardware(name: string): Promise<TartResult<{ cpus: number | null; memoryBytes: number | null }>>;
  /** The VM's room on the disk of the Mac, shared blocks included. Null if there is no such VM. */
  diskBytes(name: string): Promise<number | null>;
}

const BLOCK_BYTES = 512;

export const vmConfigsIn = (home: string): TartVmConfigs => ({
  async macAddress(name) {
    const read = await readVmConfig(home, name);
    if (!read.ok) return read;
    const { macAddress } = read.config;
    return MAC_ADDRESS.test(macAddress) ? { ok: true, macAddress } : namesNoMacAddress(read.path);
  },

  async isLinux(name) {
    const read = await readVmConfig(home, name);
    return read.ok && read.config.os === 'linux';
  },

  async hardware(name) {
    const read = await readVmConfig(home, name);
    if (!read.ok) return read;
    const { cpuCount, memorySize } = read.config;
    return { ok: true, cpus: cpuCount ?? null, memoryBytes: memorySize ?? null };
  },

  async diskBytes(name) {
    const disk = await stat(join(home, 'vms', name, 'disk.img')).catch(() => null);
    return disk && disk.blocks * BLOCK_BYTES;
  },
});

async function readVmConfig(
  home: string,
  name: string,
): Promise<TartResult<{ path: string; config: z.infer<typeof TartVmConfig> }>> {
  const path = join(home, 'vms', name, 'config.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return failure('get', code === 'ENOENT' ? 'not_found' : 'failed', null, `${path} cannot be read (${code})`);
  }
  const parsed = TartVmConfig.safeParse(parseJson(text));
  return parsed.success ? { ok: true, path, config: parsed.data } : namesNoMacAddress(path);
}

const namesNoMacAddress = (path: string): TartFailure =>
  failure('get', 'garbage', null, `${path} contains no MAC address`);
