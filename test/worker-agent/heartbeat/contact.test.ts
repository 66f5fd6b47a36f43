import { expect, test } from 'vitest';
import { DEFAULT_TIMEOUTS } from '#contract';
import { Contact } from '../../../worker-agent/heartbeat/contact.ts';
import { AGENT_LIMITS, contactLimitMs, probeIntervalMs, sshDeadLimitMs } from '../../../worker-agent/time-limits.ts';
import { anAssignment } from '../factories/assignment.ts';

const limit = (anotherAttemptPossible: boolean, workerTimeoutMs: number | null) =>
  contactLimitMs(
    anAssignment({ anotherAttemptPossible, timeouts: { ...DEFAULT_TIMEOUTS, workerTimeoutMs } }),
    AGENT_LIMITS,
  );

test('an outage is forgiven for 30 minutes while nobody else may run the build', () => {
  expect(limit(false, 120_000)).toBe(30 * 60_000);
});

test('with another attempt possible the VM is gone before that one can begin', () => {
  expect(limit(true, 120_000)).toBe(180_000);
  // A requeued build can be claimed 75 s after the verdict.
  expect(limit(true, 120_000)).toBeLessThan(120_000 + 75_000);
});

test('without a deadline for the worker its silence makes no other attempt', () => {
  expect(limit(true, null)).toBe(30 * 60_000);
});

test('clocks inside the VM scale with the timeouts of the build', () => {
  expect(sshDeadLimitMs(DEFAULT_TIMEOUTS, AGENT_LIMITS)).toBe(120_000);
  expect(sshDeadLimitMs({ ...DEFAULT_TIMEOUTS, heartbeatTimeoutMs: 3_000 }, AGENT_LIMITS)).toBe(3_000);
  expect(sshDeadLimitMs({ ...DEFAULT_TIMEOUTS, heartbeatTimeoutMs: null }, AGENT_LIMITS)).toBe(120_000);
  expect(probeIntervalMs(DEFAULT_TIMEOUTS)).toBe(15_000);
  expect(probeIntervalMs({ ...DEFAULT_TIMEOUTS, heartbeatTimeoutMs: 8_000 })).toBe(1_000);
});

test('the time without contact counts from the journal, and starts anew with each accepted beat', () => {
  const contact = new Contact(Date.now() - 3_600_000);
  expect(contact.lostForMs()).toBeGreaterThanOrEqual(3_600_000);
  contact.made();
  expect(contact.lostForMs()).toBeLessThan(60_000);
});

test('a wall clock that was set back does not shorten the time without contact', () => {
  const contact = new Contact(Date.now() + 3_600_000);
  expect(contact.lostForMs()).toBeGreaterThanOrEqual(0);
});
