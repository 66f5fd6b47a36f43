import { expect, test } from 'vitest';
import type { AttemptView } from '#contract';
import { FAULT_DEMOS, judgeOutcome } from '../../../local/demo/faults.ts';

const words = { title: '', explanation: '', advice: '' };
function attempt({
  verdict = 'vm_silent',
  step = null as string | null,
  cause = 'vm_frozen',
  latenessMs = 40 as number | null,
} = {}) {
  return {
    verdict: { code: verdict, ...words, whose: 'infrastructure', step, message: null },
    cause: { code: cause, ...words },
    latenessMs,
  } as AttemptView;
}
const held = (findings: { good: boolean }[]) => findings.every(({ good }) => good);

test('a frozen VM has to be silent at its deadline, with the cause found', () => {
  const judge = (seen: AttemptView | undefined, sinceFaultMs = 20_000) =>
    judgeOutcome(FAULT_DEMOS.freeze, seen, sinceFaultMs);
  expect(held(judge(attempt()))).toBe(true);
  expect(held(judge(attempt({ verdict: 'worker_lost' })))).toBe(false);
  expect(held(judge(attempt({ cause: 'unknown' })))).toBe(false);
  expect(held(judge(attempt({ latenessMs: 1_001 })))).toBe(false);
  expect(held(judge(attempt({ latenessMs: -1 })))).toBe(false);
  expect(held(judge(attempt(), 30_001))).toBe(false);
  expect(held(judge(undefined))).toBe(false);
});

test('a VM without SSH has to fail that very check', () => {
  const judge = (step: string) =>
    held(
      judgeOutcome(FAULT_DEMOS['no-ssh'], attempt({ verdict: 'health_check_failed', step, latenessMs: null }), 30_000),
    );
  expect(judge('ssh')).toBe(true);
  expect(judge('vm_address')).toBe(false);
});
