import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { type Assignment, DEFAULT_TIMEOUTS, type Timeouts } from '#contract';
import type { BuildDeadline } from '../../../controller/attempts/build-deadline.ts';
import type { DeadlineRecord } from '../../../controller/attempts/silence.ts';
import { HOUR_MS, unique } from '../factories/rows.ts';
import {
  aBuild,
  anAssignment,
  api,
  aWorker,
  beat,
  claim,
  report,
  show,
  until,
  untilEnded,
} from '../factories/scenarios.ts';

const deadlineOf = (buildId: string) => env.DEADLINES.getByName(buildId);

const recordOf = (buildId: string): Promise<DeadlineRecord | undefined> =>
  runInDurableObject(deadlineOf(buildId), (_object, state) => state.storage.kv.get<DeadlineRecord>('record'));

const alarmOf = (buildId: string) =>
  runInDurableObject(deadlineOf(buildId), (_object, state) => state.storage.getAlarm());

const rewrite = (buildId: string, patch: Record<string, unknown>) =>
  runInDurableObject(deadlineOf(buildId), (_object, state) => {
    state.storage.kv.put('record', { ...state.storage.kv.get<object>('record'), ...patch });
  });

/** Runs the alarm. Returns the record and the time of the next alarm, before that alarm can run. */
const fire = (buildId: string) =>
  runInDurableObject(deadlineOf(buildId), async (object: BuildDeadline, { storage }) => {
    await object.alarm();
    return { record: storage.kv.get<DeadlineRecord>('record'), alarmAt: await storage.getAlarm() };
  });

/**
 * While this is in use, D1 calls of the object go through `around`, which may fail before or after the call.
 */
async function withD1(buildId: string, around: (real: () => Promise<unknown>) => Promise<unknown>) {
  await runInDurableObject(deadlineOf(buildId), (object: BuildDeadline) => {
    const real = env.DB;
    const DB = new Proxy(real, {
      get: (target, name) =>
        name === 'batch'
          ? (statements: D1PreparedStatement[]) => around(() => target.batch(statements))
          : Reflect.get(target, name).bind(target),
    });
    Object.defineProperty(object, 'env', { value: { ...env, DB }, configurable: true });
  });
  return {
    [Symbol.asyncDispose]: () =>
      runInDurableObject(deadlineOf(buildId), (object: BuildDeadline) => {
        Object.defineProperty(object, 'env', { value: env, configurable: true });
      }),
  };
}

/** Waits for the time between two beats. */
const aMoment = () => new Promise((resolve) => setTimeout(resolve, 80));

/** Sends the agent's beats for as long as it is in use. */
function agentBeats(assignment: Parameters<typeof beat>[0], stage: 'building' | 'booting' = 'building') {
  let on = true;
  const loop = (async () => {
    while (on) {
      await beat(assignment, 'agent', { stage, outputAgeMs: 0 });
      await aMoment();
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      on = false;
      await loop;
    },
  };
}

const verdicts = (events: { type: string }[]) =>
  events.filter(({ type }) => ['fail', 'requeue', 'succeed', 'cancel'].includes(type));

test('a VM that falls silent is a vm_silent, not before its deadline, and the object has ended', async () => {
  const { assignment } = await anAssignment();
  const { heartbeatTimeoutMs } = assignment.timeouts;
  await using _agent = agentBeats(assignment);
  const last = await beat(assignment, 'vm', { progress: 10 });
  expect(last).toMatchObject({ status: 200, body: { status: 'ok', action: 'continue' } });
  // 900 ms of the timeout are left. With a timeout of 900 ms an agent that is busy for a moment is silent
  // too.
  await runInDurableObject(deadlineOf(assignment.buildId), async (_object, { storage }) => {
    const alarmAt = Date.parse(last.body.vmBeatAt!) + 900;
    const record = storage.kv.get<object>('record');
    storage.kv.put('record', { ...record, vmBeatAt: alarmAt - heartbeatTimeoutMs!, alarmAt });
    await storage.setAlarm(alarmAt);
  });
  const build = await untilEnded(assignment.buildId);
  expect(build).toMatchObject({ status: 'failed', verdict: { code: 'vm_silent' } });
  expect(Date.parse(build.endedAt!)).toBeGreaterThanOrEqual(Date.parse(last.body.vmBeatAt ?? '') + 900);
  expect(build.attempts[0]?.latenessMs).toBeGreaterThanOrEqual(0);
  expect(await recordOf(assignment.buildId)).toEqual({ state: 'ended', attempt: 1 });
  expect(await alarmOf(assignment.buildId)).toBeNull();
  expect(await beat(assignment, 'vm')).toMatchObject({
    status: 410,
    body: { action: 'stop', error: { code: 'attempt_ended' } },
  });
});

test('beats keep an attempt alive past its timeout, at one alarm a timeout', async () => {
  const { assignment } = await anAssignment();
  const { buildId, timeouts } = assignment;
  await beat(assignment, 'agent', { stage: 'building', outputAgeMs: 0 });
  await beat(assignment, 'vm');
  // Books the alarm of a deadline that would have passed without these beats.
  const dueAt = Date.now();
  await runInDurableObject(deadlineOf(buildId), (_object, { storage }) => storage.setAlarm(dueAt));
  await rewrite(buildId, { alarmAt: dueAt });
  const bookedAt = await until('the alarm has run', async () => {
    const alarmAt = await alarmOf(buildId);
    return alarmAt !== null && alarmAt > dueAt + 60_000 && alarmAt;
  });
  const { agentBeatAt } = (await recordOf(buildId)) as { agentBeatAt: number };
  expect(bookedAt).toBe(agentBeatAt + timeouts.workerTimeoutMs!);
  for (const source of ['agent', 'vm'] as const) expect((await beat(assignment, source)).status).toBe(200);
  expect(await alarmOf(buildId)).toBe(bookedAt);
  expect(await show(buildId)).toMatchObject({ status: 'assigned', live: { stage: 'building' } });
});

test('a worker that never beats after its claim is lost', async () => {
  const { assignment } = await anAssignment({ timeouts: { workerTimeoutMs: 400 } });
  expect(await untilEnded(assignment.buildId)).toMatchObject({ status: 'failed', verdict: { code: 'worker_lost' } });
});

test('a VM that never beats is a boot_timeout', async () => {
  const { assignment } = await anAssignment({ timeouts: { bootTimeoutMs: 700 } });
  await using _agent = agentBeats(assignment, 'booting');
  expect(await untilEnded(assignment.buildId)).toMatchObject({ verdict: { code: 'boot_timeout' } });
});

test('a log that does not grow is a no_output', async () => {
  const { assignment } = await anAssignment({ timeouts: { noOutputTimeoutMs: 600 } });
  await beat(assignment, 'vm');
  await beat(assignment, 'agent', { stage: 'building', outputAgeMs: 100 });
  expect(await untilEnded(assignment.buildId)).toMatchObject({ verdict: { code: 'no_output', whose: 'user' } });
});

test('a log whose silence is heard of only after its limit is a no_output at once, also after a late alarm', async () => {
  const { assignment } = await anAssignment({ timeouts: { noOutputTimeoutMs: 20_000 } });
  const { buildId } = assignment;
  const silent = { stage: 'building', outputAgeMs: 30_000 } as const;
  await beat(assignment, 'vm');
  await beat(assignment, 'agent', { ...silent, outputAgeMs: undefined });
  const { agentBeatAt } = (await recordOf(buildId)) as { agentBeatAt: number };
  // The alarm was late, so this clock has got extra time until the next beat.
  const until = Date.now() + HOUR_MS;
  await rewrite(buildId, { graces: { noOutput: { basis: agentBeatAt, until } } });
  await beat(assignment, 'agent', silent);
  expect(await untilEnded(buildId)).toMatchObject({ verdict: { code: 'no_output' } });
});

test('the processes that waited are in the message of a no_output, as soon as the agent has told them', async () => {
  const { assignment } = await anAssignment({ timeouts: { noOutputTimeoutMs: 600 } });
  await beat(assignment, 'vm');
  await beat(assignment, 'agent', { stage: 'building', outputAgeMs: 100 });
  expect(await untilEnded(assignment.buildId)).toMatchObject({ verdict: { code: 'no_output', message: null } });
  const processes = [812, 813, 814, 815, 816, 817].map((pid) => ({
    ...{
      pid,
      elapsedMs: 1_024_000,
      cpuPercent: 0,
      state: 'S',
      command: pid === 812 ? 'xcodebuild test' : 'x'.repeat(200),
    },
  }));
  const evidence = { collectedAt: new Date().toISOString(), vm: 'running' as const, processes };
  expect((await report(assignment, { type: 'evidence', evidence })).status).toBe(200);
  const { verdict, attempts } = await show(assignment.buildId);
  const long = `${'x'.repeat(99)}…`;
  const others = [813, 814, 815, 816].map((pid) => `${long} (pid ${pid}, 0.0 % CPU, for 17 min)`);
  expect(verdict!.message).toBe(
    `These processes waited: xcodebuild test (pid 812, 0.0 % CPU, for 17 min); ${others.join('; ')}; the evidence has more.`,
  );
  expect(attempts).toMatchObject([{ verdict: { message: verdict!.message }, evidence: { processes } }]);
});

test('an early alarm only books itself again', async () => {
  const { assignment } = await anAssignment();
  const due = await alarmOf(assignment.buildId);
  await fire(assignment.buildId);
  expect(await alarmOf(assignment.buildId)).toBe(due);
  expect((await show(assignment.buildId)).status).toBe('assigned');
});

test('alarms that run twice, at the same time too, say one verdict', async () => {
  const { assignment } = await anAssignment();
  const { buildId } = assignment;
  await rewrite(buildId, { claimedAt: Date.now() - 200_000, alarmAt: Date.now() });
  await Promise.all([fire(buildId), fire(buildId), fire(buildId)]);
  await fire(buildId);
  const build = await show(buildId);
  expect(build).toMatchObject({ status: 'failed', verdict: { code: 'worker_lost' } });
  expect(verdicts(build.events)).toHaveLength(1);
});

test('a late alarm means that the platform was away: nobody is judged, once', async () => {
  const { assignment } = await anAssignment();
  const { buildId } = assignment;
  const now = Date.now();
  await rewrite(buildId, { claimedAt: now - 300_000, alarmAt: now - 180_000 });
  await fire(buildId);
  expect((await show(buildId)).status).toBe('assigned');
  expect(await alarmOf(buildId)).toBeGreaterThanOrEqual(now + 119_000);
  const record = await recordOf(buildId);
  if (record?.state !== 'armed') throw new Error('not armed');
  const graces = Object.fromEntries(
    Object.entries(record.graces).map(([clock, grace]) => [clock, { ...grace, until: now - 60_000 }]),
  );
  await rewrite(buildId, { graces, alarmAt: now - 60_000 });
  await fire(buildId);
  expect(await show(buildId)).toMatchObject({ status: 'failed', verdict: { code: 'worker_lost' } });
});

test('while D1 refuses the verdict it is tried again, and its lateness counts from the original deadline', async () => {
  const { assignment } = await anAssignment();
  const { buildId, timeouts } = assignment;
  await env.DB.prepare(
    `CREATE TRIGGER refuse BEFORE UPDATE ON builds WHEN NEW.id = '${buildId}' BEGIN SELECT RAISE(ABORT, 'refused by a test'); END`,
  ).run();
  const dueAt = Date.now();
  await rewrite(buildId, { claimedAt: dueAt - timeouts.workerTimeoutMs!, alarmAt: dueAt });
  for (let tries = 1; tries <= 2; tries++)
    expect((await fire(buildId)).record).toMatchObject({ state: 'armed', judging: { dueAt } });
  expect((await show(buildId)).status).toBe('assigned');
  const backAt = Date.now();
  await env.DB.prepare('DROP TRIGGER refuse').run();
  const build = await untilEnded(buildId);
  expect(build.verdict?.code).toBe('worker_lost');
  expect(build.attempts[0]?.latenessMs).toBeGreaterThanOrEqual(backAt - dueAt);
});

test('an arm that comes while the verdict on the last attempt is being written survives it', async () => {
  const pool = unique('pool');
  const { assignment } = await anAssignment({ pool, maxAttempts: 2 });
  const { buildId } = assignment;
  await report(assignment, { type: 'start' });
  await rewrite(buildId, { claimedAt: Date.now() - 200_000, alarmAt: Date.now() });
  const armed: (number | null)[] = [];
  {
    // The requeue commits. Before the alarm's call returns, another worker arms the next attempt.
    await using _d1 = await withD1(buildId, async (commit) => {
      const committed = await commit();
      armed.push(await deadlineOf(buildId).arm(2, DEFAULT_TIMEOUTS, Date.now()));
      return committed;
    });
    await fire(buildId);
  }
  expect((await show(buildId)).status).toBe('queued');
  expect(armed[0]).toEqual(expect.any(Number));
  expect(await recordOf(buildId)).toMatchObject({ state: 'armed', attempt: 2 });
  expect(await alarmOf(buildId)).not.toBeNull();
});

test('a verdict whose reply was lost is not revived by a late beat', async () => {
  const { assignment } = await anAssignment();
  const { buildId } = assignment;
  await rewrite(buildId, { claimedAt: Date.now() - 200_000, alarmAt: Date.now() });
  {
    await using _d1 = await withD1(buildId, async (commit) => {
      await commit();
      throw new Error('Network connection lost');
    });
    expect((await fire(buildId)).record).toMatchObject({ state: 'armed', judging: { verdict: 'worker_lost' } });
  }
  expect(await show(buildId)).toMatchObject({ status: 'failed', verdict: { code: 'worker_lost' } });
  await beat(assignment, 'agent');
  await until('the object knows the end', async () => (await recordOf(buildId))?.state === 'ended');
  expect(await beat(assignment, 'agent')).toMatchObject({ status: 410 });
  expect(verdicts((await show(buildId)).events)).toHaveLength(1);
});

test('a beat that comes while D1 is away counts once D1 is back', async () => {
  const { assignment } = await anAssignment();
  const { buildId } = assignment;
  await rewrite(buildId, { claimedAt: Date.now() - 200_000, alarmAt: Date.now() });
  {
    await using _d1 = await withD1(buildId, async () => {
      throw new Error('D1 is away');
    });
    await fire(buildId);
    expect((await beat(assignment, 'agent')).status).toBe(200);
    expect((await beat(assignment, 'vm')).status).toBe(200);
  }
  await fire(buildId);
  expect(await recordOf(buildId)).toMatchObject({ state: 'armed', judging: null });
  expect((await show(buildId)).status).toBe('assigned');
});

test('an arm whose claim never came is forgotten, but not while the claim may still commit', async () => {
  const buildId = await aBuild({ pool: unique('pool') });
  const short: Timeouts = { ...DEFAULT_TIMEOUTS, workerTimeoutMs: 100 };
  const now = Date.now();
  expect(await deadlineOf(buildId).arm(1, short, now)).toBe(now);
  await rewrite(buildId, { claimedAt: now - 1_000, alarmAt: now });
  const { record, alarmAt } = await fire(buildId);
  expect(record).toMatchObject({ state: 'armed', attempt: 1 });
  // The alarm comes soon, to judge a claim that commits late.
  expect(alarmAt).toBeLessThanOrEqual(Date.now() + 500);
  await rewrite(buildId, { claimedAt: now - 60_000, alarmAt: now });
  await fire(buildId);
  expect(await recordOf(buildId)).toEqual({ state: 'ended', attempt: 0 });
  expect((await show(buildId)).status).toBe('queued');
  expect(await deadlineOf(buildId).arm(1, short, now)).toBe(now);
});

test('an arm whose deadline passed without a claim leaves no verdict to the worker that arms it again', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  const buildId = await aBuild({ pool });
  const now = Date.now();
  await deadlineOf(buildId).arm(1, DEFAULT_TIMEOUTS, now - 20_000);
  await rewrite(buildId, { timeouts: { ...DEFAULT_TIMEOUTS, workerTimeoutMs: 15_000 } });
  expect((await fire(buildId)).record).toMatchObject({ attempt: 1, judging: { verdict: 'worker_lost' } });
  const { body } = await claim(worker);
  expect(body.assignment).toMatchObject({ buildId, attempt: 1 });
  expect(await recordOf(buildId)).toMatchObject({ attempt: 1, judging: null });
  // The alarm is late, so the platform was away and nobody is judged.
  await rewrite(buildId, { claimedAt: Date.now() - 300_000, alarmAt: Date.now() - 180_000 });
  await fire(buildId);
  expect((await show(buildId)).status).toBe('assigned');
});

test('an object that lost its record arms itself from the row when it is beaten', async () => {
  const { assignment } = await anAssignment();
  await runInDurableObject(deadlineOf(assignment.buildId), (_object, state) => state.storage.deleteAll());
  expect((await beat(assignment, 'vm')).status).toBe(200);
  expect(await recordOf(assignment.buildId)).toMatchObject({ state: 'armed', attempt: 1 });
  expect(await alarmOf(assignment.buildId)).not.toBeNull();
});

test('an empty object of an ended build refuses, and stores nothing', async () => {
  const { assignment } = await anAssignment();
  await api('POST', `/api/builds/${assignment.buildId}/cancel`);
  await runInDurableObject(deadlineOf(assignment.buildId), (_object, state) => state.storage.deleteAll());
  expect((await beat(assignment, 'vm')).status).toBe(410);
  expect(await recordOf(assignment.buildId)).toBeUndefined();
});

test('arming again moves the claim time forward while no beat is stored, and never back', async () => {
  const buildId = await aBuild({ pool: unique('pool') });
  const object = deadlineOf(buildId);
  expect(await object.arm(1, DEFAULT_TIMEOUTS, 5_000_000_000_000)).toBe(5_000_000_000_000);
  expect(await object.arm(1, DEFAULT_TIMEOUTS, 4_000_000_000_000)).toBe(5_000_000_000_000);
  await object.beat(1, { source: 'agent' });
  expect(await object.arm(1, DEFAULT_TIMEOUTS, 6_000_000_000_000)).toBeNull();
  expect(await object.arm(2, DEFAULT_TIMEOUTS, 6_000_000_000_000)).toBe(6_000_000_000_000);
  expect(await object.arm(1, DEFAULT_TIMEOUTS, 7_000_000_000_000)).toBeNull();
});

test('a requeued attempt’s beats are stale once the next attempt is claimed', async () => {
  const pool = unique('pool');
  const { assignment } = await anAssignment({ pool, maxAttempts: 2 });
  const other = await aWorker({ pool });
  await report(assignment, { type: 'fail', verdict: 'vm_exited' });
  const { body } = await claim(other);
  expect(body.assignment?.attempt).toBe(2);
  expect(await beat(assignment, 'vm')).toMatchObject({
    status: 409,
    body: { action: 'stop', error: { code: 'stale_attempt' } },
  });
  expect((await beat(body.assignment!, 'vm')).status).toBe(200);
});

test('the sweep gives a build that lost its alarm a new one', async () => {
  const { assignment } = await anAssignment();
  await runInDurableObject(deadlineOf(assignment.buildId), (_object, state) => state.storage.deleteAlarm());
  const { attempt, timeouts, claimedAt } = assignment;
  expect(await deadlineOf(assignment.buildId).check(attempt, timeouts, Date.parse(claimedAt))).toBe('repaired');
  expect(await alarmOf(assignment.buildId)).not.toBeNull();
});

/**
 * The sweep's question to the object, while the platform answers `alarmAt` for its alarm, whatever is booked.
 */
const checkedWithAlarmAt = ({ buildId, attempt, timeouts, claimedAt }: Assignment, alarmAt: number) =>
  runInDurableObject(deadlineOf(buildId), async (object: BuildDeadline, { storage }) => {
    Object.defineProperty(storage, 'getAlarm', { value: async () => alarmAt, configurable: true });
    try {
      return await object.check(attempt, timeouts, Date.parse(claimedAt));
    } finally {
      Reflect.deleteProperty(storage, 'getAlarm');
    }
  });

test('an alarm that lies long in the past is lost: the sweep judges the build and books another', async () => {
  const { assignment } = await anAssignment();
  const { buildId } = assignment;
  const past = Date.now() - 6 * HOUR_MS;
  await rewrite(buildId, { claimedAt: past - 60_000, alarmAt: past });
  expect(await checkedWithAlarmAt(assignment, past)).toBe('repaired');
  // The platform was away, so the sweep allows one more heartbeat timeout.
  expect((await show(buildId)).status).toBe('assigned');
  expect(await alarmOf(buildId)).toBeGreaterThan(Date.now() + 100_000);

  const record = await recordOf(buildId);
  if (record?.state !== 'armed') throw new Error('not armed');
  const passed = Object.entries(record.graces).map(([clock, grace]) => [clock, { ...grace, until: past }]);
  await rewrite(buildId, { graces: Object.fromEntries(passed), alarmAt: past });
  expect(await checkedWithAlarmAt(assignment, past)).toBe('repaired');
  expect(await show(buildId)).toMatchObject({ status: 'failed', verdict: { code: 'worker_lost' } });
  expect(await recordOf(buildId)).toEqual({ state: 'ended', attempt: 1 });
});

test('an alarm that is late by less than a minute is left alone', async () => {
  const { assignment } = await anAssignment();
  expect(await checkedWithAlarmAt(assignment, Date.now() - 50_000)).toBe('alive');
});

test('a beat finds that the alarm is lost, and books another', async () => {
  const { assignment } = await anAssignment();
  const { buildId } = assignment;
  await rewrite(buildId, { alarmAt: Date.now() - 2 * 60_000 });
  await runInDurableObject(deadlineOf(buildId), (_object, state) => state.storage.deleteAlarm());
  await beat(assignment, 'agent');
  expect(await alarmOf(buildId)).toBeGreaterThan(Date.now() + 100_000);
});

test('a verdict that D1 does not take is tried again after ever longer pauses, up to 30 s', async () => {
  const { assignment } = await anAssignment();
  const { buildId } = assignment;
  await rewrite(buildId, { claimedAt: Date.now() - 200_000, alarmAt: Date.now() });
  {
    await using _d1 = await withD1(buildId, async () => {
      throw new Error('D1 is away');
    });
    for (const pauseMs of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000]) {
      const beforeMs = Date.now();
      const booked = await runInDurableObject(deadlineOf(buildId), async (object: BuildDeadline, { storage }) => {
        await object.alarm();
        const alarmAt = (await storage.getAlarm())!;
        // A short pause may end before the next turn of this loop. Its alarm would be a try that the loop
        // does not count.
        if (pauseMs < 30_000) await storage.deleteAlarm();
        return { alarmAt, afterMs: Date.now() };
      });
      expect(booked.alarmAt).toBeGreaterThanOrEqual(beforeMs + pauseMs);
      expect(booked.alarmAt).toBeLessThanOrEqual(booked.afterMs + pauseMs);
    }
    // A VM that beats on does not cut the pause short.
    const { alarmAt } = (await recordOf(buildId)) as { alarmAt: number };
    await beat(assignment, 'vm');
    expect(await alarmOf(buildId)).toBe(alarmAt);
  }
  await fire(buildId);
  expect((await show(buildId)).verdict?.code).toBe('worker_lost');
});
