import { expect, test } from 'vitest';
import { BUILD_STATUSES, type BuildStatus, VERDICTS } from '#contract';
import {
  decide,
  EVENT_TYPES,
  type EventType,
  failureType,
  isActive,
  isFinal,
  TRANSITIONS,
} from '../../../controller/builds/transitions.ts';
import { explainVerdict, isInfrastructure } from '../../../controller/builds/verdicts.ts';

/**
 * Spells out every status and every event a second time, so that a new one needs a decision on all its cells.
 */
const EXPECTED: Record<BuildStatus, Record<EventType, BuildStatus | 'refused'>> = {
  queued: {
    claim: 'assigned',
    start: 'refused',
    succeed: 'refused',
    fail: 'refused',
    requeue: 'refused',
    hand_back: 'refused',
    cancel: 'cancelled',
    expire: 'failed',
  },
  assigned: {
    claim: 'refused',
    start: 'building',
    succeed: 'refused',
    fail: 'failed',
    requeue: 'queued',
    hand_back: 'queued',
    cancel: 'cancelled',
    expire: 'refused',
  },
  building: {
    claim: 'refused',
    start: 'building',
    succeed: 'succeeded',
    fail: 'failed',
    requeue: 'queued',
    hand_back: 'refused',
    cancel: 'cancelled',
    expire: 'refused',
  },
  succeeded: {
    claim: 'refused',
    start: 'refused',
    succeed: 'succeeded',
    fail: 'refused',
    requeue: 'refused',
    hand_back: 'refused',
    cancel: 'refused',
    expire: 'refused',
  },
  failed: {
    claim: 'refused',
    start: 'refused',
    succeed: 'refused',
    fail: 'failed',
    requeue: 'refused',
    hand_back: 'refused',
    cancel: 'refused',
    expire: 'failed',
  },
  cancelled: {
    claim: 'refused',
    start: 'refused',
    succeed: 'refused',
    fail: 'refused',
    requeue: 'refused',
    hand_back: 'refused',
    cancel: 'cancelled',
    expire: 'refused',
  },
};

const about = (type: EventType, attempt: number) => (type === 'cancel' || type === 'expire' ? null : attempt);

for (const status of BUILD_STATUSES) {
  for (const type of EVENT_TYPES) {
    const expected = EXPECTED[status][type];
    test(`${status} + ${type} → ${expected}`, () => {
      const decision = decide({ status, attempt: 2 }, type, about(type, type === 'claim' ? 3 : 2));
      expect(decision.ok ? decision.to : 'refused').toBe(expected);
      if (decision.ok) expect(decision.changes).toBe(expected !== status);
    });

    if (about(type, 1) !== null) {
      test(`${status} + ${type} from a lower attempt is stale`, () => {
        const decision = decide({ status, attempt: 2 }, type, type === 'claim' ? 2 : 1);
        const known = (TRANSITIONS[status] as Record<string, unknown>)[type];
        expect(decision).toMatchObject({ ok: false, code: 'stale_attempt' });
        expect(known === undefined || typeof known === 'string').toBe(true);
      });
    }
  }
}

test('a message of the attempt that was requeued is answered as ended, not as stale', () => {
  expect(decide({ status: 'queued', attempt: 1 }, 'fail', 1)).toMatchObject({ ok: false, code: 'attempt_ended' });
});

test('a message of an attempt that has not begun is refused', () => {
  expect(decide({ status: 'building', attempt: 1 }, 'succeed', 2)).toMatchObject({
    ok: false,
    code: 'illegal_transition',
  });
});

test('every status is queued, active or final, and only one of these', () => {
  for (const status of BUILD_STATUSES) {
    expect([status === 'queued', isActive(status), isFinal(status)].filter(Boolean)).toHaveLength(1);
  }
});

const tries = (attempt: number, rest: { handBacks?: number; status?: BuildStatus } = {}) => ({
  ...{ status: 'assigned' as BuildStatus, attempt, maxAttempts: 2, handBacks: 0 },
  ...rest,
});

test('a failure is a requeue only for the infrastructure’s verdicts, and only while an attempt is left', () => {
  for (const verdict of VERDICTS) {
    const again = isInfrastructure(verdict) ? 'requeue' : 'fail';
    expect(failureType({ verdict }, tries(1))).toBe(again);
    expect(failureType({ verdict }, tries(2))).toBe('fail');
    expect(failureType({ verdict }, tries(4, { handBacks: 3 }))).toBe(again);
    expect(failureType({ verdict }, tries(5, { handBacks: 3 }))).toBe('fail');
  }
});

test('a build is handed back only for want of a VM, only before its command, and three times at most', () => {
  const refused = { verdict: 'vm_start_failed', handBack: 'vm_limit' } as const;
  for (const handBacks of [0, 1, 2]) expect(failureType(refused, tries(5, { handBacks }))).toBe('hand_back');
  expect(failureType(refused, tries(4, { handBacks: 3 }))).toBe('requeue');
  expect(failureType(refused, tries(5, { handBacks: 3 }))).toBe('fail');
  expect(failureType(refused, tries(2, { status: 'building' }))).toBe('fail');
  for (const verdict of VERDICTS)
    if (verdict !== 'vm_start_failed') expect(failureType({ ...refused, verdict }, tries(1))).not.toBe('hand_back');
});

test('every verdict has a title, an explanation and an advice', () => {
  for (const verdict of VERDICTS) {
    const { title, explanation, advice } = explainVerdict(verdict, null, null);
    for (const words of [title, explanation, advice]) expect(words.length).toBeGreaterThan(5);
  }
});
