import type { Assignment } from '#contract';
import { SHORT_TIMEOUTS, WORKER_ID } from '../servers/stand-in-controller.ts';

export const anAssignment = (change: Partial<Assignment> = {}): Assignment => ({
  buildId: 'b1',
  attempt: 1,
  workerId: WORKER_ID,
  claimId: 'claim-1',
  platform: 'ios',
  command: 'true',
  source: { sha256: 'a'.repeat(64), size: 1 },
  artifactGlobs: [],
  timeouts: SHORT_TIMEOUTS,
  anotherAttemptPossible: false,
  claimedAt: '2026-01-01T00:00:00.000Z',
  beatIntervalMs: 5_000,
  nextMs: 250,
  tokens: { vm: 'tb_vm_x', run: 'tb_run_x' },
  ...change,
});
