import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BuildRequest } from '#contract';
import {
  ARTIFACT,
  commandOf,
  expectedArtifact,
  printed,
  rightBytes,
  SCRIPT_TEXT,
} from '../../../local/chaos/builds.ts';
import { FAULTS, isSurvived } from '../../../local/chaos/faults/catalogue.ts';
import { HEALTHY_SILENCE_MS } from '../../../local/chaos/faults/fault.ts';
import { planChaos } from '../../../local/chaos/plan.ts';
import { VM_FAULTS } from '../../../worker-agent/tart-simulator/home/faults.ts';

const plan = (seed: number, builds = 400, faults = 300) => planChaos({ seed, builds, faults });

test('the same seed is the same plan, another seed another', () => {
  expect(plan(7)).toEqual(plan(7));
  expect(plan(7)).not.toEqual(plan(8));
});

test.each([
  [1, 0],
  [1, 1],
  [14, 12],
  [500, 500],
])('of %i builds exactly %i have a fault', (builds, faults) => {
  const planned = plan(3, builds, faults);
  expect(planned.map(({ number }) => number)).toEqual(Array.from({ length: builds }, (_, index) => index + 1));
  expect(planned.filter(({ fault }) => fault !== null)).toHaveLength(faults);
});

test('every kind comes about equally often', () => {
  const kinds = plan(1, 1_000, 1_000).map(({ fault }) => fault!.kind);
  const rounds = Math.ceil(1_000 / FAULTS.length);
  for (const { kind, everyRounds = 1 } of FAULTS) {
    const times = kinds.filter((one) => one === kind).length;
    expect(times, kind).toBeGreaterThanOrEqual(Math.floor((rounds - 1) / everyRounds));
    expect(times, kind).toBeLessThanOrEqual(Math.ceil((rounds + 2) / everyRounds));
  }
});

test('restarts and panics of the guest, and naps and sleeps of the Mac, are drawn like all others', () => {
  const kinds = new Set(plan(5, 2 * FAULTS.length, 2 * FAULTS.length).map(({ fault }) => fault!.kind));
  for (const kind of [
    'guest-restarts',
    'guest-panics',
    'guest-stays-down',
    'mac-naps',
    'mac-sleeps',
    'mac-sleeps-long',
  ])
    expect(kinds).toContain(kind);
});

test('of the kinds that are asked for alone', () => {
  const planned = planChaos({ seed: 1, builds: 6, faults: 4, kinds: ['frozen', 'crashed'] });
  const kinds = planned.flatMap(({ fault }) => fault?.kind ?? []);
  expect(kinds.sort()).toEqual(['crashed', 'crashed', 'frozen', 'frozen']);
});

test('a build that survives its fault ends by itself, any other is there when the fault strikes', () => {
  for (const { shape, fault } of plan(5)) {
    const row = FAULTS.find(({ kind }) => kind === fault?.kind);
    if (!row || isSurvived(row)) expect(shape).toMatchObject({ endless: false, hangs: false, exitCode: 0 });
    else if (row.inject.on !== 'build') expect(shape.endless).toBe(true);
  }
});

test('healthy builds are silent for as long as one that was seen, scaled, and it is less than the timeout', () => {
  const silent = plan(1).filter(({ shape, fault }) => shape.silenceMs > 0 && fault === null);
  expect(silent.length).toBeGreaterThan(3);
  for (const { shape, timeouts } of silent) {
    expect(shape.silenceMs).toBe(HEALTHY_SILENCE_MS);
    expect(shape.silenceMs).toBeLessThan(timeouts.noOutputTimeoutMs!);
  }
});

test('every kind has a name of its own and, of the VM, a fault that the simulator knows', () => {
  expect(new Set(FAULTS.map(({ kind }) => kind)).size).toBe(FAULTS.length);
  for (const { kind, inject } of FAULTS) {
    if (inject.on !== 'vm') continue;
    const name = inject.fault.split(':')[0]!;
    expect(name in VM_FAULTS || /^(clone|set|run|list|delete)-(fail|hang|garbage)$/.test(name), kind).toBe(true);
  }
});

test('the controller takes each command', () => {
  for (const { number, shape } of plan(1, 40, 40))
    expect(BuildRequest.shape.command.parse(commandOf(number, shape))).toContain(`build.sh ${number} `);
});

test('the script prints and makes to the byte what is expected of it', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tartbeat-chaos-test-'));
  try {
    const shape = {
      ...{ rounds: 3, burst: 700, restMs: 0, silenceMs: 0, exitCode: 0 },
      ...{ endless: false, hangs: false, makesArtifact: true },
    };
    writeFileSync(join(dir, 'build.sh'), SCRIPT_TEXT);
    const env = { ...process.env, TARTBEAT_ATTEMPT: '1' };
    const log = execFileSync('bash', ['-c', commandOf(12, shape)], { cwd: dir, env });
    expect(log.equals(printed(12, shape))).toBe(true);
    expect(rightBytes(12, log)).toBe(log.length);
    const artifact = readFileSync(join(dir, ARTIFACT));
    expect(expectedArtifact(12).sizeBytes).toBe(artifact.length);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('lost, doubled and changed bytes of a log are found where they are', () => {
  const log = printed(3, {
    ...{ rounds: 2, burst: 5, restMs: 0, silenceMs: 0, exitCode: 0 },
    ...{ endless: false, hangs: false, makesArtifact: false },
  });
  const lost = Buffer.concat([log.subarray(0, 100), log.subarray(101)]);
  const doubled = Buffer.concat([log.subarray(0, 100), log.subarray(99)]);
  expect(rightBytes(3, log)).toBe(log.length);
  expect(rightBytes(3, log.subarray(0, 130))).toBe(130);
  expect(rightBytes(3, lost)).toBeLessThan(lost.length);
  expect(rightBytes(3, doubled)).toBeLessThan(doubled.length);
  expect(rightBytes(4, log)).toBeLessThan(30);
  const killed = Buffer.concat([log, Buffer.from('/a/build.sh: line 3:  815 Killed    bash build.sh 3\n')]);
  expect(rightBytes(3, killed)).toBe(killed.length);
  expect(rightBytes(3, Buffer.concat([killed, Buffer.from('more\n')]))).toBe(log.length);
});
