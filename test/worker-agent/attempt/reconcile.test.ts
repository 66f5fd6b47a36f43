import { expect, test } from 'vitest';
import { CONTROLLER_SAYS, type Facts, HERE, RECONCILE, reconcile } from '../../../worker-agent/attempt/reconcile.ts';

const one = { buildId: 'b', attempt: 2 };
const vmName = 'tartbeat-w-b-2';
const claim = { ...one, claimId: 'claim' };

/** Facts that describe each cell of the table. */
const CONTROLLER: Record<(typeof CONTROLLER_SAYS)[number], Facts['controller']> = {
  current: { says: 'known', attempts: [claim] },
  ended: { says: 'known', attempts: [] },
  refused: { says: 'refused' },
  unreachable: { says: 'unreachable' },
};
const journal = { ...one, vmName, finished: false, kept: false, booted: true };
const vm = { ...one, vmName, running: true };
const HOST: Record<(typeof HERE)[number], Pick<Facts, 'journals' | 'vms' | 'unansweredClaimId'>> = {
  finished: { journals: [{ ...journal, finished: true }], vms: [vm], unansweredClaimId: null },
  kept: { journals: [{ ...journal, finished: true, kept: true }], vms: [vm], unansweredClaimId: null },
  unbooted: { journals: [{ ...journal, booted: false }], vms: [vm], unansweredClaimId: null },
  running: { journals: [journal], vms: [vm], unansweredClaimId: null },
  stopped: { journals: [journal], vms: [{ ...vm, running: false }], unansweredClaimId: null },
  gone: { journals: [journal], vms: [], unansweredClaimId: null },
  orphan: { journals: [], vms: [vm], unansweredClaimId: null },
  claiming: { journals: [], vms: [], unansweredClaimId: 'claim' },
  nothing: { journals: [], vms: [], unansweredClaimId: null },
};
/** Nobody knows of such an attempt, so there is nothing to decide. */
const EMPTY = new Set(['ended', 'refused', 'unreachable']);

for (const says of CONTROLLER_SAYS)
  for (const here of HERE)
    test(`controller ${says}, here ${here}: ${RECONCILE[says][here]}`, () => {
      const decisions = reconcile({ ...HOST[here], controller: CONTROLLER[says] });
      if (EMPTY.has(says) && (here === 'claiming' || here === 'nothing')) expect(decisions).toEqual([]);
      else expect(decisions).toEqual([{ ...one, says, here, action: RECONCILE[says][here] }]);
    });

test('a finished result is always delivered, and a VM of ours is never left', () => {
  for (const says of CONTROLLER_SAYS) {
    expect(RECONCILE[says].finished).toBe('deliver');
    expect(RECONCILE[says].kept).toBe('keep');
    for (const here of ['unbooted', 'running', 'stopped', 'orphan'] as const)
      expect(['begin', 'adopt', 'lost', 'discard']).toContain(RECONCILE[says][here]);
  }
});

test('an attempt that is not current is never gone on with', () => {
  for (const here of HERE) expect(['deliver', 'keep', 'discard', 'none']).toContain(RECONCILE.ended[here]);
});

test('a VM that was kept and does not run is destroyed, and so is one without a journal', () => {
  const kept = { ...journal, finished: true, kept: true };
  for (const vms of [[], [{ ...vm, running: false }]])
    expect(reconcile({ ...HOST.kept, vms, controller: CONTROLLER.ended })).toMatchObject([{ action: 'deliver' }]);
  expect(reconcile({ ...HOST.orphan, controller: CONTROLLER.ended })).toMatchObject([{ action: 'discard' }]);
  expect(reconcile({ ...HOST.kept, journals: [kept], controller: CONTROLLER.unreachable })).toMatchObject([
    { action: 'keep' },
  ]);
});

test('the journal of attempt 1 is not attempt 2', () => {
  const old = { ...journal, attempt: 1, vmName: 'tartbeat-w-b-1' };
  const decisions = reconcile({ journals: [old], vms: [vm], controller: CONTROLLER.current, unansweredClaimId: null });
  expect(decisions.map(({ attempt, action }) => [attempt, action])).toEqual([
    [1, 'discard'],
    [2, 'lost'],
  ]);
});
