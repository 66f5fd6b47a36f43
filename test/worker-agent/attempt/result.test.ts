import { expect, test } from 'vitest';
import { type Evidence, REPORT_MESSAGE_MAX, type Report } from '#contract';
import type { Refused } from '../../../client/answer.ts';
import { lesserReport, reportOf, resultEvent } from '../../../worker-agent/attempt/result.ts';
import type { Ending } from '../../../worker-agent/ending.ts';

const EVIDENCE: Evidence = { collectedAt: '2026-01-01T00:00:00.000Z', vm: 'running' };
const ARTIFACT = { name: 'app.ipa', sha256: 'a'.repeat(64), size: 1 };
const nothing = { attempt: 1, evidence: null, fromLog: {}, learned: {} };
const failed: Ending = { kind: 'failed', verdict: 'vm_exited', step: 'run', message: 'the VM has stopped' };
const refused = (status: number, code: string): Refused => ({
  ok: false,
  kind: 'refused',
  status,
  code,
  message: 'no',
});

test('a success reports its artifacts and what the next build may learn', () => {
  const ending: Ending = { kind: 'succeeded', artifacts: [ARTIFACT] };
  const report = reportOf(ending, { ...nothing, learned: { quietMs: 7 } });
  expect(report).toMatchObject({ type: 'succeed', attempt: 1, artifacts: [ARTIFACT], quietMs: 7 });
  expect(resultEvent(ending, {})).toEqual({ type: 'result', outcome: 'succeeded' });
});

test('a failure reports its verdict, its step and the evidence; a message that is too long is cut', () => {
  const ending: Ending = { ...failed, message: 'x'.repeat(REPORT_MESSAGE_MAX + 1) };
  expect(reportOf(ending, { ...nothing, evidence: EVIDENCE })).toMatchObject({
    type: 'fail',
    verdict: 'vm_exited',
    step: 'run',
    evidence: EVIDENCE,
    message: 'x'.repeat(REPORT_MESSAGE_MAX),
  });
});

test('a limit of the Mac hands the build back, in the report and in the event', () => {
  const ending: Ending = { ...failed, verdict: 'vm_start_failed', handBack: 'vm_limit' };
  expect(reportOf(ending, nothing)).toMatchObject({ verdict: 'vm_start_failed', handBack: 'vm_limit' });
  expect(resultEvent(ending, {})).toMatchObject({ outcome: 'failed', handBack: 'vm_limit' });
});

test('an attempt that the controller has ended reports evidence, or nothing', () => {
  const ending: Ending = { kind: 'stopped', message: 'cancelled' };
  expect(reportOf(ending, { ...nothing, evidence: EVIDENCE })).toEqual({
    type: 'evidence',
    attempt: 1,
    evidence: EVIDENCE,
  });
  expect(reportOf(ending, nothing)).toBeNull();
});

test('after a refusal each report leads to a lesser one, until nothing is left to say', () => {
  const succeed: Report = {
    type: 'succeed',
    attempt: 1,
    artifacts: [ARTIFACT],
    history: undefined,
    quietMs: undefined,
  };
  const fail = reportOf(failed, { ...nothing, evidence: EVIDENCE })!;
  expect(lesserReport(succeed, refused(400, 'invalid_request'))).toMatchObject({
    type: 'fail',
    verdict: 'transfer_failed',
    artifacts: [],
  });
  expect(lesserReport(succeed, refused(410, 'attempt_ended'))).toBeNull();
  expect(lesserReport(succeed, refused(401, 'unauthorized'))).toBeNull();
  expect(lesserReport(fail, refused(410, 'attempt_ended'))).toMatchObject({ type: 'evidence', evidence: EVIDENCE });
  expect(lesserReport(fail, refused(400, 'invalid_request'))).toBeNull();
  for (const [verdict, former] of [
    ['artifact_refused', 'artifact_missing'],
    ['inputs_gone', 'transfer_failed'],
  ] as const) {
    const unknown: Report = { type: 'fail', attempt: 1, verdict, artifacts: [] };
    expect(lesserReport(unknown, refused(400, 'invalid_request'))).toEqual({ ...unknown, verdict: former });
  }
  expect(lesserReport({ type: 'evidence', attempt: 1, evidence: EVIDENCE }, refused(410, 'attempt_ended'))).toBeNull();
});
