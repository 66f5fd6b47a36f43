/**
 * Writes the reports that macOS leaves in a guest when its kernel panics, or when it kills processes because
 * memory is short.
 *
 * Invariant: a report is whole before a reader can see it, and has the name and the words of macOS's own
 * reports.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export function writePanicReport(vmFolder: string): void {
  write(vmFolder, `panic-full-${stamp()}.panic`, {
    bug_type: '210',
    panicString: 'panic(cpu 0 caller 0xfffffe0000000000): a fault of the simulator',
  });
}

/** `name` is the beginning of the killed processes' command lines. */
export function writeMemoryReport(vmFolder: string, name: string, killed: number): void {
  const processes = Array.from({ length: killed }, () => ({ name, reason: 'vm-compressor-space-shortage' }));
  write(vmFolder, `JetsamEvent-${stamp()}.ips`, { bug_type: '298', largestProcess: name, processes });
}

function write(vmFolder: string, name: string, report: object): void {
  const folder = join(vmFolder, 'guest', 'Library', 'Logs', 'DiagnosticReports');
  mkdirSync(folder, { recursive: true });
  const draft = join(folder, `.${name}`);
  // macOS puts a blank on both sides of the colon.
  writeFileSync(draft, `${JSON.stringify(report, null, 2).replaceAll('": ', '" : ')}\n`);
  renameSync(draft, join(folder, name));
}

/** 2026-01-31-235959 */
const stamp = () => new Date().toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '');
