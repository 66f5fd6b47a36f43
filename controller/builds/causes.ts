/**
 * Finds the cause of an attempt's end in its evidence. Pure. The first rule that holds wins, so the most
 * telling finding stands first. A probe that could not be made proves nothing.
 */
import type { Cause, Evidence, Verdict } from '#contract';
import { isInfrastructure } from './verdicts.ts';

const DISK_FULL_BYTES = 256 * 1024 * 1024;

interface Rule {
  cause: Cause;
  holds(evidence: Evidence, silenceMs: number): boolean;
}

/**
 * `silenceMs` is the timeout that made silence a verdict. A pause shorter than half of it explains nothing.
 */
const RULES: readonly Rule[] = [
  { cause: 'host_asleep', holds: (e, silenceMs) => (e.hostAsleepMs ?? 0) >= silenceMs / 2 },
  {
    cause: 'disk_full',
    holds: ({ vmDisk }) => vmDisk !== undefined && (vmDisk.freeBytes < DISK_FULL_BYTES || vmDisk.usedPercent >= 100),
  },
  { cause: 'out_of_memory', holds: ({ vmMemory }) => (vmMemory?.outOfMemoryKills ?? 0) > 0 },
  { cause: 'host_disk_full', holds: ({ hostDisk }) => hostDisk !== undefined && hostDisk.freeBytes < DISK_FULL_BYTES },
  { cause: 'vm_exited', holds: ({ runExited, vm }) => runExited === true || vm === 'stopped' || vm === 'missing' },
  { cause: 'vm_frozen', holds: ({ vm, ssh }) => vm === 'running' && ssh?.answers === false },
  { cause: 'monitor_died', holds: ({ ssh, monitor }) => ssh?.answers === true && monitor?.alive === false },
  {
    cause: 'host_network_down',
    holds: (e, silenceMs) =>
      e.controllerFromVm?.reachable !== true && (e.controllerUnreachableMs ?? 0) >= silenceMs / 2,
  },
  { cause: 'vm_network_down', holds: ({ controllerFromVm }) => controllerFromVm?.reachable === false },
];

/**
 * Causes that may stand beside a verdict of the user's. A full disk, for one, fails a command like a bug
 * does.
 */
const CAUSES_OF_USER_VERDICTS: readonly Cause[] = ['disk_full', 'out_of_memory', 'host_disk_full'];

export function causeOf(verdict: Verdict, evidence: Evidence, silenceMs: number): Cause | null {
  const found = RULES.find(({ holds }) => holds(evidence, silenceMs))?.cause ?? 'unknown';
  if (isInfrastructure(verdict)) return found;
  return CAUSES_OF_USER_VERDICTS.includes(found) ? found : null;
}
