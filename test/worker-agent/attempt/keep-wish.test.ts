import { expect, test } from 'vitest';
import { AGENT_VERDICTS, type Verdict } from '#contract';
import { whyNotAfter, wishToKeep } from '../../../worker-agent/attempt/keep-wish.ts';
import { searchedTexts } from '../../../worker-agent/build-log/searched-texts.ts';
import type { Ending } from '../../../worker-agent/ending.ts';

const failure = (verdict: (typeof AGENT_VERDICTS)[number]): Ending => ({ kind: 'failed', verdict, message: '' });
const asked = { keepMs: 60_000, trusted: true };

/** Every verdict that an agent gives. */
const KEPT: Record<(typeof AGENT_VERDICTS)[number], boolean> = {
  build_failed: true,
  source_invalid: true,
  project_invalid: true,
  artifact_missing: true,
  artifact_refused: true,
  inputs_gone: true,
  vm_start_failed: true,
  health_check_failed: true,
  transfer_failed: true,
  vm_exited: false,
  worker_lost: false,
  worker_restarted: false,
  worker_stopped: false,
};

test.each(AGENT_VERDICTS)('after %s, a VM is kept or the reason is said', (verdict) => {
  const wish = wishToKeep(failure(verdict), asked, 3_600_000);
  expect(wish).toEqual(KEPT[verdict] ? { keepMs: 60_000 } : { why: expect.any(String) });
});

test('the smaller of both limits counts, and each may forbid it', () => {
  const end = failure('build_failed');
  expect(wishToKeep(end, asked, 1_000)).toEqual({ keepMs: 1_000 });
  expect(wishToKeep(end, asked, 0)).toEqual({ why: expect.stringContaining('keepVmMaxMs') });
  expect(wishToKeep(end, { ...asked, trusted: false }, 1_000)).toEqual({ why: 'the build is not trusted' });
  // An older controller says neither.
  expect(wishToKeep(end, { keepMs: 60_000 }, 1_000)).toEqual({ why: 'the build is not trusted' });
  expect(wishToKeep(end, { trusted: true }, 1_000)).toBeNull();
});

test('no VM is kept of a build that succeeded or goes back', () => {
  expect(wishToKeep({ kind: 'succeeded', artifacts: [] }, asked, 1_000)).toBeNull();
  const handedBack: Ending = { kind: 'failed', verdict: 'vm_start_failed', message: '', handBack: 'vm_limit' };
  expect(wishToKeep(handedBack, asked, 1_000)).toBeNull();
});

test('a VM is kept after a verdict of the controller that has failed the build, and after no other', () => {
  expect(wishToKeep({ kind: 'stopped', message: '' }, asked, 1_000)).toEqual({ keepMs: 1_000 });
  const told = (verdict: Verdict | null, buildFailed: boolean) => ({ verdict, step: null, cause: null, buildFailed });
  for (const verdict of ['build_timeout', 'no_output', 'vm_silent', 'boot_timeout', 'worker_lost'] as const) {
    expect(whyNotAfter(told(verdict, true))).toBeNull();
    expect(whyNotAfter(told(verdict, false))).toBe('the build is tried again');
  }
  expect(whyNotAfter(told('cancelled', false))).toBe('the build was cancelled');
  expect(whyNotAfter(null)).toBe('the controller has not said how the attempt ended');
});

test('the texts for the search are lines that nobody writes by chance', () => {
  const needles = [
    'hunter22',
    '  hunter  ',
    '-----BEGIN PRIVATE KEY-----',
    'with\0nul-in-it',
    'with\nline-in-it',
    '        ',
  ];
  expect(searchedTexts(needles.map((text) => Buffer.from(text))).toString()).toBe('hunter22\n');
  expect(searchedTexts([Buffer.from([0x80, 0xff, 1, 2, 3, 4, 5, 6])])).toEqual(
    Buffer.from([0x80, 0xff, 1, 2, 3, 4, 5, 6, 10]),
  );
  expect(searchedTexts([])).toHaveLength(0);
});
