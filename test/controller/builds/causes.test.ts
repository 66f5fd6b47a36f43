/**
 * Walks every verdict with the evidence of every cause, then the cases that field reports and chaos have
 * shown.
 */
import { describe, expect, test } from 'vitest';
import {
  CAUSES,
  type Cause,
  DEFAULT_TIMEOUTS,
  type Evidence,
  HEALTH_CHECK_IDS,
  VERDICTS,
  type Verdict,
} from '#contract';
import { causeOf, type Ended } from '../../../controller/builds/causes.ts';
import { isInfrastructure } from '../../../controller/builds/verdicts.ts';

type KnownCause = Exclude<Cause, 'unknown'>;

const GB = 1e9;
const SLEEP_MS = Math.max(...Object.values(DEFAULT_TIMEOUTS));

/** A VM in which the agent finds nothing wrong. */
const HEALTHY: Evidence = {
  collectedAt: '2026-01-01T00:00:00.000Z',
  vm: 'running',
  runExited: false,
  vmRestarted: false,
  ssh: { answers: true, ms: 20 },
  monitor: { alive: true, restarts: 0, log: '[VM Monitor] Heartbeat sent (progress: 0%)\n' },
  controllerFromVm: { reachable: true, detail: 'HTTP 200' },
  vmDisk: { freeBytes: 60 * GB, usedPercent: 56 },
  vmMemory: { freeBytes: 4 * GB, outOfMemoryKills: 0 },
  hostDisk: { freeBytes: 200 * GB },
  hostMemory: { freeBytes: GB },
  runOutput: '',
  logTail: 'line 1\n',
};
/** The evidence of the host alone, because the VM is not there to be asked. */
const {
  ssh: _1,
  monitor: _2,
  controllerFromVm: _3,
  vmDisk: _4,
  vmMemory: _5,
  vmRestarted: _6,
  ...HOST_ALONE
} = HEALTHY;

const SHOWING: Record<KnownCause, Evidence> = {
  vm_frozen: { ...HOST_ALONE, ssh: { answers: false, error: 'no answer within 5 s', kind: 'silent' } },
  sshd_died: {
    ...HOST_ALONE,
    ssh: { answers: false, error: 'nothing listens', kind: 'refused' },
    secondWay: { answers: true, ms: 700 },
    controllerFromVm: { reachable: true, detail: 'HTTP 200' },
  },
  monitor_died: { ...HEALTHY, monitor: { alive: false, restarts: 3, log: '' } },
  vm_network_down: { ...HEALTHY, controllerFromVm: { reachable: false, detail: 'timed out HTTP 000' } },
  disk_full: { ...HEALTHY, vmDisk: { freeBytes: 0, usedPercent: 100 } },
  out_of_memory: { ...HEALTHY, vmMemory: { freeBytes: 0, outOfMemoryKills: 2 } },
  vm_exited: { ...HOST_ALONE, vm: 'stopped', runExited: true },
  host_asleep: { ...HEALTHY, hostAsleepMs: SLEEP_MS },
  host_network_down: { ...HEALTHY, controllerUnreachableMs: SLEEP_MS },
  host_disk_full: { ...HEALTHY, hostDisk: { freeBytes: 1_000 } },
  vm_restarted: { ...HEALTHY, vmRestarted: true, monitor: { alive: false, restarts: 0, log: '' } },
  // The report itself names this cause, because only the agent understands Tart.
  vm_limit: HOST_ALONE,
};
const reported = (verdict: Verdict, cause: KnownCause): Ended =>
  cause === 'vm_limit' ? { verdict, handBack: cause } : { verdict };
const KNOWN = CAUSES.filter((cause): cause is KnownCause => cause !== 'unknown');

const SEEN = KNOWN.filter((cause) => cause !== 'vm_limit');

const FULL: readonly KnownCause[] = ['disk_full', 'host_disk_full', 'out_of_memory'];
/**
 * Spelled out a second time. Evidence of a cause that is not listed gives no cause, or `unknown` with a
 * verdict of the infrastructure.
 */
const CAN_LEAD_TO: Record<Verdict, readonly KnownCause[]> = {
  build_failed: FULL,
  build_timeout: [...FULL, 'host_asleep'],
  no_output: [...FULL, 'host_asleep'],
  source_invalid: [],
  project_invalid: [],
  artifact_missing: [],
  artifact_refused: [],
  inputs_gone: [],
  cancelled: [],
  queue_expired: [],
  vm_silent: SEEN,
  worker_lost: ['host_asleep', 'host_network_down', 'host_disk_full'],
  boot_timeout: SEEN.filter((cause) => cause !== 'vm_restarted' && cause !== 'out_of_memory'),
  vm_start_failed: ['host_disk_full', 'vm_limit'],
  health_check_failed: ['host_disk_full', 'vm_exited'],
  vm_exited: ['vm_exited', 'vm_restarted', 'host_disk_full'],
  worker_restarted: ['vm_exited', 'host_disk_full'],
  worker_stopped: [],
  transfer_failed: ['vm_exited', 'vm_restarted', 'disk_full', 'host_disk_full', 'host_network_down'],
};
const ELSE: Partial<Record<Verdict, Cause | null>> = {
  vm_exited: 'vm_exited',
  worker_restarted: 'vm_exited',
  worker_stopped: null,
};

const of = (ended: Ended, evidence: Evidence) => causeOf(ended, evidence, DEFAULT_TIMEOUTS);

for (const verdict of VERDICTS)
  describe(verdict, () => {
    const otherwise = ELSE[verdict] === undefined ? (isInfrastructure(verdict) ? 'unknown' : null) : ELSE[verdict];
    for (const cause of KNOWN) {
      // A boot has no build yet that a restart could lose. The evidence shows only the dead monitor.
      const restartedAtBoot = verdict === 'boot_timeout' && cause === 'vm_restarted';
      const given = CAN_LEAD_TO[verdict].includes(cause) ? cause : restartedAtBoot ? 'monitor_died' : otherwise;
      test(`with the evidence of ${cause} has the cause ${given}`, () => {
        expect(of(reported(verdict, cause), SHOWING[cause])).toBe(given);
      });
    }
    test('has no cause, or none that is known, where nothing is wrong', () => {
      expect(of({ verdict }, HEALTHY)).toBe(otherwise);
    });
  });

test('every cause can be given with some verdict', () => {
  const given = VERDICTS.flatMap((verdict) => KNOWN.map((cause) => of(reported(verdict, cause), SHOWING[cause])));
  expect([...new Set(given)].sort()).toEqual([...CAUSES, null].sort());
});

test('each health check has the causes that its own name allows, and no other', () => {
  const allowed: Record<(typeof HEALTH_CHECK_IDS)[number], KnownCause[]> = {
    vm_exists: ['host_disk_full', 'vm_exited'],
    vm_address: ['host_disk_full', 'vm_exited', 'vm_frozen', 'vm_network_down'],
    vm_identity: [],
    ssh: ['host_disk_full', 'vm_exited', 'vm_frozen', 'sshd_died', 'vm_network_down'],
    guest_scripts: ['disk_full', 'host_disk_full'],
    disk_space: ['disk_full'],
    monitor: ['disk_full', 'monitor_died', 'vm_network_down'],
    curl: [],
    controller: ['vm_network_down'],
    clock: [],
  };
  for (const step of HEALTH_CHECK_IDS)
    for (const cause of KNOWN) {
      const found = of({ verdict: 'health_check_failed', step }, SHOWING[cause]);
      // These two checks have found the fault themselves.
      const own = { disk_space: SHOWING[cause].vmDisk ? 'disk_full' : 'unknown', controller: 'vm_network_down' }[
        step as string
      ];
      const dead = step === 'monitor' && cause === 'vm_restarted' ? 'monitor_died' : null;
      expect({ step, cause, found }).toEqual({
        ...{ step, cause },
        found: dead ?? own ?? (allowed[step].includes(cause) ? cause : 'unknown'),
      });
    }
});

test('a clone without space on the Mac’s disk is host_disk_full, by the words of tart alone', () => {
  const message = 'tart clone: No space left on device';
  const stopped: Evidence = { ...HOST_ALONE, vm: 'missing' };
  expect(of({ verdict: 'vm_start_failed', step: 'clone', message }, stopped)).toBe('host_disk_full');
  const cocoa = 'tart clone: You can’t save the file “disk.img” because the volume “Data” is out of space.';
  expect(of({ verdict: 'vm_start_failed', step: 'clone', message: cocoa }, stopped)).toBe('host_disk_full');
});

test('a VM that was never started did not end', () => {
  for (const [step, message] of [
    ['clone', 'tart clone: the specified VM "x" does not exist'],
    ['run', 'tart run ended (exit code 1): VZErrorDomain Code=1'],
    ['run', 'tart run ended (exit code 1): The number of VMs exceeds the system limit'],
  ] as const)
    expect(of({ verdict: 'vm_start_failed', step, message }, { ...HOST_ALONE, vm: 'stopped' })).toBe('unknown');
});

test('SSH that dies while the VM beats is not a frozen VM', () => {
  for (const kind of ['silent', 'timeout', 'refused'] as const) {
    const evidence: Evidence = { ...HOST_ALONE, ssh: { answers: false, error: 'x', kind } };
    expect(of({ verdict: 'transfer_failed', step: 'ssh', message: 'SSH has been dead' }, evidence)).toBe('unknown');
  }
});

test('the second way tells a frozen VM, a network that is gone and a dead sshd apart', () => {
  const silent = { answers: false, error: 'x', kind: 'silent' };
  const seen = (ssh: Evidence['ssh'], reachable?: boolean): Evidence => ({
    ...HOST_ALONE,
    ssh,
    secondWay: { answers: true, ms: 700 },
    ...(reachable !== undefined && { controllerFromVm: { reachable, detail: '' } }),
  });
  const causes = (evidence: Evidence) => [
    of({ verdict: 'vm_silent' }, evidence),
    of({ verdict: 'transfer_failed', step: 'ssh' }, evidence),
    of({ verdict: 'health_check_failed', step: 'ssh' }, evidence),
  ];
  const noAnswer = { answers: false, error: 'is the Tart Guest Agent running?' };
  expect(causes({ ...HOST_ALONE, ssh: silent, secondWay: noAnswer })).toEqual(['vm_frozen', 'unknown', 'vm_frozen']);
  expect(causes(seen(silent, false))).toEqual(['vm_network_down', 'unknown', 'vm_network_down']);
  expect(causes(seen(silent, true))).toEqual(['sshd_died', 'sshd_died', 'sshd_died']);
  // The request to the controller was not made in time.
  expect(causes(seen(silent))).toEqual(['unknown', 'unknown', 'unknown']);
  expect(causes(seen({ ...silent, kind: 'refused' }))).toEqual(['sshd_died', 'sshd_died', 'sshd_died']);
  const refused = seen({ ...silent, kind: 'refused' }, false);
  expect(causes(refused)).toEqual(['vm_network_down', 'unknown', 'vm_network_down']);
  expect(causes({ ...refused, controllerUnreachableMs: 7_000 })).toEqual(['sshd_died', 'sshd_died', 'sshd_died']);
  // The way to the VM, or its key, is at fault.
  for (const kind of ['no_route', 'timeout', 'auth'])
    expect(causes(seen({ ...silent, kind }, true))).toEqual(['unknown', 'unknown', 'unknown']);
});

test('a guest that refuses SSH answers: it is not frozen; without a kind, from an older agent, it may be', () => {
  const ssh = (kind?: string): Evidence => ({ ...HOST_ALONE, ssh: { answers: false, error: 'x', kind } });
  expect(of({ verdict: 'vm_silent' }, ssh('refused'))).toBe('unknown');
  expect(of({ verdict: 'vm_silent' }, ssh('no_route'))).toBe('vm_frozen');
  expect(of({ verdict: 'vm_silent' }, ssh())).toBe('vm_frozen');
});

test('a full disk that stops a transfer is the Mac’s in the words of Node, the VM’s in those of its programs', () => {
  const of_ = (step: string, message: string) => of({ verdict: 'transfer_failed', step, message }, HEALTHY);
  expect(of_('source', 'ENOSPC: no space left on device, write')).toBe('host_disk_full');
  expect(of_('source', 'exit code 1: cat: write error: No space left on device')).toBe('disk_full');
  expect(of_('agent', 'the agent failed: Error: ENOSPC: no space left on device, open')).toBe('host_disk_full');
});

test('a command that met a full disk and tidied up after itself is disk_full; one that only speaks of it is not', () => {
  const logTail = 'ld: write() failed, errno=28\nerror: No space left on device\n';
  const tidied: Evidence = { ...HEALTHY, logTail, vmDisk: { freeBytes: 2 * GB, usedPercent: 99 } };
  expect(of({ verdict: 'build_failed' }, tidied)).toBe('disk_full');
  expect(of({ verdict: 'build_failed' }, { ...HEALTHY, logTail })).toBeNull();
  // 99.6 % of a large disk is much space.
  const large: Evidence = { ...HEALTHY, vmDisk: { freeBytes: 8 * GB, usedPercent: 100 } };
  expect(of({ verdict: 'build_failed' }, large)).toBeNull();
});

test('a monitor that the controller told to stop has not died', () => {
  const log = '[VM Monitor] Stopping: this attempt is over (HTTP 410 attempt_ended)\n';
  const evidence: Evidence = { ...HEALTHY, monitor: { alive: false, restarts: 0, log } };
  expect(of({ verdict: 'vm_silent' }, evidence)).toBe('unknown');
});

test('a guest that restarted is vm_restarted whoever ended the attempt, by its step alone too', () => {
  expect(of({ verdict: 'vm_silent' }, SHOWING.vm_restarted)).toBe('vm_restarted');
  expect(of({ verdict: 'vm_exited', step: 'restart' }, { ...HOST_ALONE })).toBe('vm_restarted');
  expect(of({ verdict: 'vm_exited', step: 'run' }, SHOWING.vm_exited)).toBe('vm_exited');
});

test('each verdict measures a sleep by its own timeout', () => {
  const slept = (hostAsleepMs: number, hostAwakeMs = 0): Evidence => ({ ...HEALTHY, hostAsleepMs, hostAwakeMs });
  expect(of({ verdict: 'worker_lost' }, slept(59_000))).toBe('unknown');
  expect(of({ verdict: 'worker_lost' }, slept(60_000))).toBe('host_asleep');
  expect(of({ verdict: 'boot_timeout' }, slept(60_000))).toBe('unknown');
  expect(of({ verdict: 'boot_timeout' }, slept(300_000))).toBe('host_asleep');
  // The sleep ended long ago.
  expect(of({ verdict: 'worker_lost' }, slept(60_000, 120_000))).toBe('host_asleep');
  expect(of({ verdict: 'worker_lost' }, slept(60_000, 121_000))).toBe('unknown');
  const off = { ...DEFAULT_TIMEOUTS, workerTimeoutMs: null };
  expect(causeOf({ verdict: 'worker_lost' }, slept(60_000), off)).toBe('host_asleep');
});
