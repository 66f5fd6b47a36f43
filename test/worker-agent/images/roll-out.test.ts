import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CAUSES, HEALTH_CHECK_IDS, type Outcome, VERDICTS } from '#contract';
import type { Generation, ImageState } from '../../../worker-agent/images/images-file.ts';
import {
  back,
  firstState,
  generationsOf,
  leftBehind,
  PROVEN_AFTER,
  promote,
  switchToCandidate,
  type ToldOfAttempt,
  whatItSays,
  withCandidate,
  withOutcome,
} from '../../../worker-agent/images/roll-out.ts';

const OLD = 'mac-base-aaaaaaaaaaaa';
const NEW = 'mac-base-bbbbbbbbbbbb';
const at = '2026-11-29T00:00:00.000Z';
const BY_HAND = { at, why: 'a person has decided so' };

const generation = (vm: string, made = true): Generation => ({
  ...{ vm, digest: null, provisioned: made ? 'a'.repeat(64) : null, reference: null },
  ...{ hostKey: null, answersExec: true },
});
const outcome = (more: Partial<Outcome> = {}): Outcome => ({ verdict: null, step: null, cause: null, ...more });
const BOOT_TIMEOUT = outcome({ verdict: 'boot_timeout' });
const told = (buildId: string, projectId: string, ended: Outcome, vm = NEW): ToldOfAttempt => ({
  ...{ vm, buildId, projectId, at, outcome: ended, reachedBuilding: ended.verdict === null },
});
const after = (state: ImageState, ...endings: ToldOfAttempt[]) => endings.reduce(withOutcome, state);

/** An image that has just been switched from OLD to NEW. */
const rolledOut = (): ImageState => {
  const old = { ...firstState(OLD), current: generation(OLD) };
  return switchToCandidate(withCandidate(old, generation(NEW)), { keepPrevious: true });
};

test('two builds that blame a new image switch it back while none has succeeded, whoever they belong to', () => {
  const one = after(rolledOut(), told('b1', 'p', BOOT_TIMEOUT));
  expect(one.current.vm).toBe(NEW);
  const two = after(one, told('b2', 'p', BOOT_TIMEOUT));
  expect(two).toMatchObject({
    ...{ current: { vm: OLD }, previous: null, candidate: { vm: NEW }, strikes: [], succeeded: [], unwanted: [] },
    switchedBack: { vm: NEW, at, why: 'b1 ended with boot_timeout, b2 ended with boot_timeout' },
  });
});

test('two attempts of one build are one build', () => {
  expect(after(rolledOut(), told('b1', 'p', BOOT_TIMEOUT), told('b1', 'p', BOOT_TIMEOUT)).current.vm).toBe(NEW);
});

test('once a build has succeeded, only two builds of two projects switch it back', () => {
  const good = after(rolledOut(), told('b0', 'p', outcome()));
  const same = after(good, told('b1', 'p', BOOT_TIMEOUT), told('b2', 'p', BOOT_TIMEOUT));
  expect(same.current.vm).toBe(NEW);
  expect(after(same, told('b3', 'q', BOOT_TIMEOUT)).current.vm).toBe(OLD);
  // A build in between that has begun ends the row.
  expect(after(same, told('b3', 'p', outcome()), told('b4', 'q', BOOT_TIMEOUT)).current.vm).toBe(NEW);
});

test('endings that say nothing of the image neither count nor end a row', () => {
  const cut = outcome({ verdict: 'health_check_failed', step: 'controller' });
  const lost = outcome({ verdict: 'worker_lost' });
  const state = after(rolledOut(), told('b1', 'p', BOOT_TIMEOUT), told('b2', 'q', cut), told('b3', 'q', lost));
  expect(state.current.vm).toBe(NEW);
  expect(after(state, told('b4', 'q', BOOT_TIMEOUT)).current.vm).toBe(OLD);
});

test('what each ending says: verdict, failed check and cause', () => {
  const says = (ended: Partial<Outcome>, reachedBuilding = true) =>
    whatItSays({ outcome: outcome(ended), reachedBuilding }, { answersExec: true });
  for (const cause of ['vm_frozen', 'vm_restarted'] as const)
    for (const verdict of VERDICTS) expect(says({ verdict, cause })).toBe('blames');
  for (const step of HEALTH_CHECK_IDS)
    expect(says({ verdict: 'health_check_failed', step })).toBe(step === 'controller' ? 'nothing' : 'blames');
  const blaming = VERDICTS.filter((verdict) => says({ verdict }) === 'blames');
  expect(blaming).toEqual(['boot_timeout', 'health_check_failed']);
  const proving = VERDICTS.filter((verdict) => says({ verdict }) === 'proves');
  expect(proving).toContain('build_failed');
  expect(proving).not.toContain('transfer_failed');
  expect(says({})).toBe('proves');
  expect(says({}, false)).toBe('nothing');
  expect(says({ verdict: 'cancelled' }, false)).toBe('nothing');
});

test('where a VM without network cannot be told from a frozen one, vm_frozen adds no blame and no proof', () => {
  const says = (ended: Partial<Outcome>) =>
    whatItSays({ outcome: outcome(ended), reachedBuilding: true }, { answersExec: false });
  expect(says({ verdict: 'vm_silent', cause: 'vm_frozen' })).toBe('nothing');
  expect(says({ verdict: 'no_output', cause: 'vm_frozen' })).toBe('nothing');
  expect(says({ verdict: 'boot_timeout', cause: 'vm_frozen' })).toBe('blames');
  expect(says({ verdict: 'vm_silent', cause: 'vm_restarted' })).toBe('blames');
});

test('a network that is cut for the whole farm blames no image, whatever the verdicts', () => {
  const cut: Outcome[] = [
    outcome({ verdict: 'health_check_failed', step: 'controller', cause: 'vm_network_down' }),
    outcome({ verdict: 'vm_silent', cause: 'vm_network_down' }),
    outcome({ verdict: 'vm_silent', cause: 'host_network_down' }),
    outcome({ verdict: 'boot_timeout', cause: 'vm_network_down' }),
    outcome({ verdict: 'worker_lost', cause: 'unknown' }),
    outcome({ verdict: 'worker_lost', step: 'contact', cause: 'host_network_down' }),
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...cut), { maxLength: 30 }), (endings) => {
      const state = after(rolledOut(), ...endings.map((ended, index) => told(`b${index}`, `p${index}`, ended)));
      expect(state).toEqual(rolledOut());
    }),
  );
});

test('after ten builds that have begun the previous generation is not kept, and nothing is switched back', () => {
  const builds = Array.from({ length: PROVEN_AFTER }, (_, index) => told(`b${index}`, 'p', outcome()));
  const nine = after(rolledOut(), ...builds.slice(1), builds[3]!);
  expect(nine.previous?.vm).toBe(OLD);
  const ten = after(nine, builds[0]!);
  expect(ten).toMatchObject({ previous: null, unwanted: [OLD] });
  const blamed = after(ten, told('x', 'p', BOOT_TIMEOUT), told('y', 'q', BOOT_TIMEOUT));
  expect(blamed.current.vm).toBe(NEW);
});

test('it switches back once; what a person promotes stays, until a newer candidate has passed', () => {
  const fall = (vm: string) => [told('x', 'p', BOOT_TIMEOUT, vm), told('y', 'q', BOOT_TIMEOUT, vm)];
  const once = after(rolledOut(), ...fall(NEW));
  expect(after(once, ...fall(OLD)).current.vm).toBe(OLD);
  const promoted = promote(once)!;
  expect(promoted).toMatchObject({ current: { vm: NEW }, previous: { vm: OLD }, candidate: null });
  expect(after(promoted, ...fall(NEW)).current.vm).toBe(NEW);
  expect(back(promoted, BY_HAND)).toMatchObject({ current: { vm: OLD }, previous: null, candidate: { vm: NEW } });
  const third = 'mac-base-cccccccccccc';
  const newer = switchToCandidate(withCandidate(once, generation(third)), { keepPrevious: true });
  expect(newer).toMatchObject({ current: { vm: third }, previous: { vm: OLD }, unwanted: [NEW], switchedBack: null });
  expect(after(newer, ...fall(third)).current.vm).toBe(OLD);
});

test('a person cannot go back without a previous generation, nor promote without a candidate', () => {
  expect(back(firstState(OLD), BY_HAND)).toBeNull();
  expect(promote(rolledOut())).toBeNull();
});

test('a VM that somebody made by hand is never unwanted', () => {
  const own = withCandidate(firstState('mac-base-snapshot'), generation(NEW));
  const state = switchToCandidate(own, { keepPrevious: true });
  const builds = Array.from({ length: PROVEN_AFTER }, (_, index) => told(`b${index}`, 'p', outcome()));
  const proven = after(state, ...builds);
  expect(proven).toMatchObject({ previous: null, unwanted: [] });
  expect(leftBehind(state, proven)).toEqual(['mac-base-snapshot']);
  expect(leftBehind(own, state)).toEqual([]);
});

test('whatever happens: one switch by itself for each new candidate, and no VM in use is unwanted', () => {
  const anOutcome = fc.record({
    verdict: fc.option(fc.constantFrom(...VERDICTS)),
    step: fc.option(fc.constantFrom<string>(...HEALTH_CHECK_IDS)),
    cause: fc.option(fc.constantFrom(...CAUSES)),
  });
  const deed = fc.oneof(
    { arbitrary: fc.tuple(fc.constant('ended' as const), anOutcome, fc.nat(3), fc.boolean()), weight: 12 },
    fc.tuple(fc.constantFrom('back' as const, 'promote' as const, 'candidate' as const, 'switch' as const)),
  );
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 60 }), (deeds) => {
      let state = firstState('v0');
      let switchesLeft = 0;
      deeds.forEach(([what, ended, project, reachedBuilding], index) => {
        const before = state;
        if (what === 'candidate') state = withCandidate(state, generation(`v${index + 1}`));
        else if (what === 'switch') {
          state = switchToCandidate(state, { keepPrevious: true });
          if (before.candidate) switchesLeft = 1;
        } else if (what === 'back') state = back(state, BY_HAND) ?? state;
        else if (what === 'promote') {
          state = promote(state) ?? state;
          // An image that was never current before may go back once, too.
          if (before.candidate && !before.switchedBack) switchesLeft = 1;
        } else {
          const vm = state.current.vm;
          state = withOutcome(state, {
            ...{ vm, buildId: `b${index}`, projectId: `p${project}`, at },
            ...{ outcome: ended!, reachedBuilding: reachedBuilding! },
          });
          if (state.current.vm !== vm) {
            expect(state.current.vm).toBe(before.previous?.vm);
            expect(--switchesLeft).toBe(0);
          }
        }
        const vms = generationsOf(state).map(({ vm }) => vm);
        expect(new Set(vms).size).toBe(vms.length);
        expect(state.unwanted.filter((vm) => vms.includes(vm))).toEqual([]);
        expect(state.unwanted).not.toContain('v0');
        expect(state.succeeded.length).toBeLessThanOrEqual(PROVEN_AFTER);
        expect(state.strikes.length).toBeLessThanOrEqual(2);
      });
    }),
    { numRuns: 500 },
  );
});
