/**
 * Reads and writes the settings that all VMs of one TART_HOME share: its `simulator/settings.json`. A person
 * may edit this file.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Settings {
  /** All VMs listen at this port, each at its own address. It is the agent's `vmSshPort`. */
  sshPort: number;
  /** The version whose JSON `tart list` prints: `2.30` has `SizeOnDisk` and no `Accessed`. */
  listFormat: '2.40' | '2.30';
}

const DEFAULTS: Settings = { sshPort: 22_022, listFormat: '2.40' };

export function readSettings(tartHome: string): Settings {
  try {
    return { ...DEFAULTS, ...JSON.parse(readFileSync(file(tartHome), 'utf8')) };
  } catch {
    return DEFAULTS;
  }
}

export function writeSettings(tartHome: string, settings: Partial<Settings>): void {
  mkdirSync(join(tartHome, 'simulator'), { recursive: true });
  writeFileSync(file(tartHome), `${JSON.stringify({ ...readSettings(tartHome), ...settings }, null, 2)}\n`);
}

const file = (tartHome: string) => join(tartHome, 'simulator', 'settings.json');
