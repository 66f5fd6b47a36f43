import { expect, test } from 'vitest';
import type { AttemptView, BuildDetail, Cause, Verdict } from '#contract';
import { ARTIFACT, expectedArtifact, printed } from '../../../local/chaos/builds.ts';
import { FAULTS, faultOf } from '../../../local/chaos/faults/catalogue.ts';
import { CHAOS_TIMEOUTS } from '../../../local/chaos/faults/fault.ts';
import { isEvidenceDue, judgeChaos, type Outcome } from '../../../local/chaos/judge.ts';
import type { PlannedBuild } from '../../../local/chaos/plan.ts';

const words = { title: '', explanation: '', advice: '' };
const at = '2026-01-01T00:00:00.000Z';

interface Ended {
  verdict?: Verdict | undefined;
  step?: string;
  cause?: Cause;
  latenessMs?: number;
  running?: boolean;
  handedBack?: boolean;
}

function attempt(
  number: number,
  { verdict, step, cause, latenessMs, running, handedBack = false }: Ended,
): AttemptView {
  return {
    ...{ attempt: number, workerId: 'w', exitCode: null, claimedAt: at, startedAt: at, evidence: null },
    endedAt: running ? null : at,
    verdict: verdict ? { code: verdict, ...words, whose: 'infrastructure', step: step ?? null, message: null } : null,
    cause: cause ? { code: cause, ...words } : null,
    latenessMs: latenessMs ?? null,
    handedBack,
  } as AttemptView;
}

interface Given extends Partial<Omit<Outcome, 'build' | 'planned'>> {
  kind?: string;
  shape?: Partial<PlannedBuild['shape']>;
  status?: BuildDetail['status'];
}

/** A build that ended as its attempts say, with all of its log and artifact, unless told. */
function outcome(attempts: Ended[], { kind, shape: different, status, ...rest }: Given = {}): Outcome {
  const shape = {
    ...{ rounds: 2, burst: 3, restMs: 0, silenceMs: 0, exitCode: 0 },
    ...{ endless: false, hangs: false, makesArtifact: true, ...different },
  };
  const views = attempts.map((ended, index) => attempt(index + 1, ended));
  const last = attempts.at(-1);
  const running = last === undefined || last.running === true;
  const lengthBytes = printed(1, shape).length;
  return {
    planned: {
      ...{ number: 1, shape, timeouts: CHAOS_TIMEOUTS, maxAttempts: 2 },
      fault: kind === undefined ? null : { kind, moment: 'building', delayMs: 0 },
    },
    fault: kind === undefined ? 'none' : 'injected',
    build: {
      id: 'b_1',
      status: status ?? (running ? 'building' : last.verdict ? 'failed' : 'succeeded'),
      attempt: views.length,
      handBacks: attempts.filter(({ handedBack }) => handedBack).length,
      attempts: views,
      endedAt: running ? null : at,
      verdict: views.at(-1)?.verdict ?? null,
    } as BuildDetail,
    logs: views.map((view) => ({
      ...{ attempt: view.attempt, complete: true },
      ...(view.verdict ? { lengthBytes: 0, rightBytes: 0 } : { lengthBytes, rightBytes: lengthBytes }),
    })),
    artifacts: [{ name: ARTIFACT, ...expectedArtifact(1) }],
    leakedVms: [],
    agentAwayMs: 0,
    duringOutage: false,
    ...rest,
  };
}

const judge = (attempts: Ended[], given?: Given) => judgeChaos(outcome(attempts, given));
const good = {
  falseKills: 0,
  stuck: false,
  lostLogBytes: 0,
  unsealedLogs: 0,
  lostArtifacts: 0,
  leakedVms: [],
  complaints: [],
};

test('a healthy build that succeeded with all its bytes is beyond reproach', () => {
  expect(judge([{}])).toMatchObject({ ...good, kind: null, verdictRight: null, causeRight: null, succeeded: true });
});

test('a fault with its verdict and cause, then a second attempt that succeeds, is right', () => {
  const frozen = judge([{ verdict: 'vm_silent', cause: 'vm_frozen', latenessMs: 70 }, {}], { kind: 'frozen' });
  expect(frozen).toMatchObject({ ...good, kind: 'frozen', verdictRight: true, causeRight: true, latenessMs: [70] });
});

test('another verdict than the table allows, or the right one at the wrong step, is wrong', () => {
  const wrong = judge([{ verdict: 'boot_timeout' }], { kind: 'clone-fails' });
  expect(wrong).toMatchObject({ verdictRight: false, falseKills: 0 });
  expect(wrong.complaints).toEqual([expect.stringContaining('ended as boot_timeout, expected vm_start_failed')]);
  const step = judge([{ verdict: 'vm_start_failed', step: 'set' }], { kind: 'clone-fails' });
  expect(step.verdictRight).toBe(false);
  expect(judge([{ verdict: 'vm_start_failed', step: 'clone' }], { kind: 'clone-fails' }).verdictRight).toBe(true);
});

test('another cause is wrong, and one that is missing', () => {
  expect(judge([{ verdict: 'vm_silent', cause: 'unknown' }], { kind: 'frozen' })).toMatchObject({
    ...{
      verdictRight: true,
      causeRight: false,
      complaints: [expect.stringContaining('vm_silent has cause unknown, expected cause vm_frozen')],
    },
  });
  expect(judge([{ verdict: 'vm_silent' }], { kind: 'frozen' }).causeRight).toBe(false);
});

test('a cause that is shown beside a verdict of the user’s alone is wrong; so is one of a fault during an outage', () => {
  const fails = { kind: 'command-fails', shape: { exitCode: 3 } };
  expect(judge([{ verdict: 'build_failed' }], fails)).toMatchObject({ causeRight: true, verdictRight: true });
  expect(judge([{ verdict: 'build_failed', cause: 'disk_full' }], fails).complaints).toContainEqual(
    expect.stringContaining('build_failed has cause disk_full, expected no cause'),
  );
  const during = { kind: 'frozen', duringOutage: true };
  expect(judge([{ verdict: 'vm_silent', cause: 'vm_exited' }], during).causeRight).toBe(false);
});

test('the cause of a verdict that is wrong already, or that came with the loss of the agent, is not judged', () => {
  expect(judge([{ verdict: 'boot_timeout' }], { kind: 'clone-fails' }).causeRight).toBeNull();
  const away = { kind: 'agent-killed', agentAwayMs: CHAOS_TIMEOUTS.workerTimeoutMs };
  expect(judge([{ verdict: 'worker_lost' }], away).causeRight).toBeNull();
});

test('every fault that ends an attempt names its causes, and none that is survived does', () => {
  for (const { kind, ends, causes } of FAULTS) expect(causes !== undefined, kind).toBe(!ends.includes('succeeded'));
});

test('evidence is waited for where a cause is judged, unless the verdict has none', () => {
  const isDue = (kind: string, verdict?: Verdict) => isEvidenceDue(faultOf(kind), attempt(1, { verdict }));
  expect(isDue('frozen', 'vm_silent')).toBe(true);
  expect(isDue('command-silent', 'no_output')).toBe(true);
  expect(isDue('archive-broken', 'source_invalid')).toBe(false);
  expect(isDue('ssh-drops')).toBe(false);
});

test('a healthy build that is ended is falsely killed, as is one that had to survive, and a second attempt', () => {
  expect(judge([{ verdict: 'vm_silent' }])).toMatchObject({ falseKills: 1, verdictRight: null });
  expect(judge([{ verdict: 'vm_silent' }], { kind: 'ssh-drops' })).toMatchObject({
    falseKills: 1,
    verdictRight: false,
  });
  const second = judge([{ verdict: 'vm_silent', cause: 'vm_frozen' }, { verdict: 'no_output' }], { kind: 'frozen' });
  expect(second).toMatchObject({ falseKills: 1, verdictRight: true });
  expect(judge([{ verdict: 'worker_lost' }], { kind: 'ssh-drops', fault: 'missed' })).toMatchObject({
    ...{ falseKills: 1, kind: null, missed: true },
  });
});

test('a build without an end is stuck', () => {
  expect(judge([{ running: true }])).toMatchObject({ stuck: true, falseKills: 0, succeeded: false });
  expect(judgeChaos({ ...outcome([]), build: null })).toMatchObject({ stuck: true, buildId: null });
});

test('an agent that was away for longer than its deadline is lost, and no longer than it is not', () => {
  const killed = { kind: 'agent-killed' };
  expect(judge([{ verdict: 'worker_lost' }], { ...killed, agentAwayMs: 1_000 }).falseKills).toBe(1);
  const away = judge([{ verdict: 'worker_lost' }], { ...killed, agentAwayMs: CHAOS_TIMEOUTS.workerTimeoutMs });
  expect(away).toMatchObject({ falseKills: 0, verdictRight: true });
});

test('an outage lets a worker be lost only where another attempt is possible', () => {
  expect(judge([{ verdict: 'worker_lost' }, {}], { duringOutage: true })).toMatchObject({ falseKills: 0 });
  expect(judge([{ verdict: 'vm_silent' }, {}], { duringOutage: true })).toMatchObject({ falseKills: 1 });
  const last = judge([{ verdict: 'vm_silent', cause: 'vm_frozen' }, { verdict: 'worker_lost' }], {
    ...{ kind: 'frozen', duringOutage: true },
  });
  expect(last.falseKills).toBe(1);
});

test('lost and wrong bytes of a log are counted, of an attempt that was ended only the wrong ones', () => {
  const log = { attempt: 1, lengthBytes: 100, rightBytes: 100, complete: true };
  const due = printed(1, outcome([{}]).planned.shape).length;
  expect(judge([{}], { logs: [log] }).lostLogBytes).toBe(due - 100);
  expect(judge([{}], { logs: [] }).lostLogBytes).toBe(due);
  const frozen = { kind: 'frozen' };
  const ended = { verdict: 'vm_silent', cause: 'vm_frozen' } as const;
  expect(judge([ended], { ...frozen, logs: [log] }).lostLogBytes).toBe(0);
  expect(judge([ended], { ...frozen, logs: [{ ...log, rightBytes: 90 }] })).toMatchObject({
    ...{ lostLogBytes: 10, complaints: [expect.stringContaining('10 bytes of its log are lost or wrong')] },
  });
});

test('the whole log is due of a command that succeeded, also if an artifact is missing or refused', () => {
  const due = printed(1, outcome([{}]).planned.shape).length;
  for (const verdict of ['artifact_missing', 'artifact_refused'] as const) {
    expect(judge([{ verdict }], { logs: [] }).lostLogBytes).toBe(due);
    const { attempts } = outcome([{ verdict }]).build!;
    expect(isEvidenceDue(faultOf('artifact-missing'), attempts[0])).toBe(false);
  }
});

test('a log that was never sealed is a complaint', () => {
  const { logs } = outcome([{}]);
  const unsealed = judge([{}], { logs: [{ ...logs[0]!, complete: false }] });
  expect(unsealed).toMatchObject({ lostLogBytes: 0, unsealedLogs: 1 });
  expect(unsealed.complaints).toEqual(['attempt 1: its log was never sealed']);
});

test('an artifact that is missing or other than made is lost', () => {
  expect(judge([{}], { artifacts: [] }).lostArtifacts).toBe(1);
  const other = { name: ARTIFACT, ...expectedArtifact(2) };
  expect(judge([{}], { artifacts: [other] }).lostArtifacts).toBe(1);
  expect(judge([{ verdict: 'build_failed' }], { kind: 'command-fails', artifacts: [] }).lostArtifacts).toBe(0);
});

test('a VM that is left behind is a complaint', () => {
  expect(judge([{}], { leakedVms: ['tartbeat-w-b_1-1'] })).toMatchObject({
    ...{ leakedVms: ['tartbeat-w-b_1-1'], complaints: ['its VM tartbeat-w-b_1-1 still exists'] },
  });
});

test('a Mac without a VM must hand the build back, and no other fault may', () => {
  const limit = { verdict: 'vm_start_failed', step: 'run', cause: 'vm_limit' } as const;
  const right = judge([{ ...limit, handedBack: true }, {}], { kind: 'vm-limit' });
  expect(right).toMatchObject({ ...good, verdictRight: true, causeRight: true });
  expect(right.endings).toEqual(['vm_start_failed: run, handed back', 'succeeded']);
  const kept = judge([limit, {}], { kind: 'vm-limit' });
  expect(kept.complaints).toEqual([expect.stringContaining('expected vm_start_failed at run, handed back')]);
  const other = judge([{ ...limit, cause: 'unknown', handedBack: true }, {}], { kind: 'run-fails' });
  expect(other).toMatchObject({ verdictRight: false });
});

test('a cancelled build ends as such, before its attempt and in it', () => {
  const cancelled = judge([{}], { kind: 'cancelled', status: 'cancelled' });
  expect(cancelled).toMatchObject({ ...good, verdictRight: true, endings: ['cancelled'] });
  expect(faultOf('cancelled').ends).toEqual(['cancelled']);
});
