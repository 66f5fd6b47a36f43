import { expect, test } from 'vitest';
import { DEFAULT_TIMEOUTS, type WorkerDurations } from '#contract';
import { describe as describeStatus } from '../../../worker-agent/commands/status.ts';
import { proposeTimeouts } from '../../../worker-agent/commands/timeout-proposals.ts';

const took = (totalMs: number, change: Partial<WorkerDurations['attempts'][number]> = {}) => ({
  buildId: 'b1',
  project: null,
  platform: 'ios' as const,
  endedAt: '2026-11-24T10:00:00.000Z',
  bootMs: 40_000,
  totalMs,
  quietMs: null,
  timeouts: DEFAULT_TIMEOUTS,
  ...change,
});

test('twice the slowest build, in whole minutes, beside what is in force', () => {
  const proposals = proposeTimeouts([took(1_200_000), took(1_500_001), took(1_000_000)]);
  expect(proposals).toEqual([
    { name: 'bootTimeoutMs', builds: 3, medianMs: 40_000, slowestMs: 40_000, presentMs: 600_000, proposedMs: 120_000 },
    {
      name: 'buildTimeoutMs',
      builds: 3,
      medianMs: 1_200_000,
      slowestMs: 1_500_001,
      presentMs: 7_200_000,
      proposedMs: 3_060_000,
    },
  ]);
});

test('nothing is proposed from too few builds, and never too little', () => {
  expect(proposeTimeouts([])).toEqual([]);
  expect(proposeTimeouts([took(1), took(2)])).toEqual([]);
  const quick = proposeTimeouts([1, 2, 3].map((ms) => took(ms, { bootMs: ms, quietMs: ms })));
  expect(quick.map(({ proposedMs }) => proposedMs)).toEqual([120_000, 300_000, 600_000]);
});

test('status tells ages, what is left until each deadline, and what the controller alone still counts', () => {
  const nowMs = Date.parse('2026-11-24T10:00:00.000Z');
  const at = (seconds: number) => new Date(nowMs + seconds * 1_000).toISOString();
  const attempt = (buildId: string, seconds: number) => ({
    buildId,
    attempt: 1,
    claimId: 'c',
    status: 'building' as const,
    claimedAt: at(-100),
    deadlines: [
      { name: 'heartbeatTimeout' as const, verdict: 'vm_silent' as const, at: at(seconds) },
      { name: 'buildTimeout' as const, verdict: 'build_timeout' as const, at: at(7_100) },
    ],
    ...{ progress: null, phase: null, endExpectedAt: null },
  });
  const slot = {
    ...{
      buildId: 'b1',
      attempt: 1,
      vmName: 'tartbeat-w-b1-1',
      stage: 'building' as const,
      step: 'start of the command done',
    },
    ...{ percent: 42, phase: 'Compiling', beatAt: at(-3), vmBeatAt: at(-63), result: null, lastError: null },
    keptUntil: null,
    vmGone: false,
  };
  const agent = {
    ...{ pid: 7, writtenAt: at(0), startedAt: at(-3_700), workerId: 'w', controllerUrl: 'https://c', slots: 1 },
    ...{ state: 'running', lastError: null, lastFailure: null, builds: [slot] },
  };
  const controller = { reachable: true, message: 'worker w', activeAttempts: [attempt('b1', 57), attempt('b0', -2)] };
  expect(describeStatus({ running: true, agent, kept: [], controller, images: [] }, 'https://c', nowMs)).toBe(
    `agent       running, pid 7, for 1 h 01 min
controller  reached, https://c (worker w)
slots       1 of 1 in use

b1#1  building, 42 % Compiling
  VM        tartbeat-w-b1-1
  step      start of the command done
  beats     agent 3 s ago, VM 1 min 03 s ago
  deadlines heartbeatTimeout in 57 s,      then vm_silent
            buildTimeout     in 1 h 58 min, then build_timeout

b0#1  building for the controller, unknown to the agent here
  deadlines heartbeatTimeout passed,       then vm_silent
            buildTimeout     in 1 h 58 min, then build_timeout`,
  );

  // Only the controller knows what a script in the VM said, and when the build may end.
  const said = { progress: { percent: 60, origin: 'script' as const }, phase: 'Archiving', endExpectedAt: at(125) };
  const failed = {
    buildId: 'b7',
    attempt: 2,
    at: at(-60),
    verdict: 'build_failed',
    explained: 'The disk is full. Free some.',
  };
  const later = describeStatus(
    {
      running: true,
      images: [],
      kept: [],
      agent: { ...agent, lastFailure: failed },
      controller: { ...controller, activeAttempts: [{ ...attempt('b1', 57), ...said }] },
    },
    'https://c',
    nowMs,
  );
  expect(later).toContain('b1#1  building, 60 % Archiving, about 2 min 05 s left\n');
  expect(later).toContain('last failed b7#2, build_failed, 1 min 00 s ago\n            The disk is full. Free some.\n');
});
