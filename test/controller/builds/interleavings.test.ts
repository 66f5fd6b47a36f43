/**
 * Checks the invariants of a build after each step of random interleavings. Claims, beats, reports, cancels,
 * retries, alarms and sweeps come in any order, from current and stale attempts of several workers.
 *
 * It runs a few seeded sequences. `SEQUENCES=10000` and `SEED=n` in the environment run more or other ones.
 */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { asc, eq } from 'drizzle-orm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Assignment, BuildStatus } from '#contract';
import type { BuildDeadline } from '../../../controller/attempts/build-deadline.ts';
import type { DeadlineRecord } from '../../../controller/attempts/silence.ts';
import {
  type EventType,
  HAND_BACKS_MAX,
  isActive,
  isFinal,
  TRANSITIONS,
} from '../../../controller/builds/transitions.ts';
import { attempts, builds, events } from '../../../controller/schema/index.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { wrongLoads } from '../../../local/chaos/wrong-loads.ts';
import { db, HOUR_MS, unique } from '../factories/rows.ts';
import { aBuild, api, aWorker, beat, claim, report, type TestWorker } from '../factories/scenarios.ts';

const WORKERS = 2;
const BUILDS = 2;
const STEPS_MAX = 14;

/** All actions that may happen. `pick` chooses the build, worker or assignment to which one happens. */
const ACTIONS = [
  'claim',
  'agentBeat',
  'vmBeat',
  'start',
  'succeed',
  'failUser',
  'failInfrastructure',
  'handBack',
  'repeatLastReport',
  'cancel',
  'retry',
  'supersede',
  'deadlinePasses',
  'alarmTwice',
  'alarmLate',
  'timePasses',
  'sweep',
] as const;
type Action = { action: (typeof ACTIONS)[number]; pick: number };

interface World {
  /** Where its builds wait, and the group in which they supersede each other. */
  group: { pool: string; group: string };
  workers: TestWorker[];
  buildIds: string[];
  /** All assignments so far. The older ones belong to stale attempts. */
  given: Assignment[];
  last: (() => Promise<{ status: number }>) | null;
  /** The rows of builds that have ended. */
  final: Map<string, string>;
}

async function aWorld(): Promise<World> {
  const pool = unique('pool');
  const workers = await Promise.all(Array.from({ length: WORKERS }, () => aWorker({ pool })));
  const buildIds: string[] = [];
  const group = { pool, group: 'main' };
  for (let i = 0; i < BUILDS; i++) buildIds.push(await aBuild({ ...group, maxAttempts: 2 }));
  return { group, workers, buildIds, given: [], last: null, final: new Map() };
}

const deadlineOf = (buildId: string) => env.DEADLINES.getByName(buildId);

/** Moves the claim and every beat `silenceMs` into the past, and lets the alarm run. */
const letPass = (buildId: string, silenceMs: number, lateMs: number, times: number) =>
  runInDurableObject(deadlineOf(buildId), async (object: BuildDeadline, state) => {
    const record = state.storage.kv.get<DeadlineRecord>('record');
    if (record?.state === 'armed' && !record.judging) {
      const earlier = (at: number | null) => (at === null ? null : at - silenceMs);
      const { claimedAt, vmBeatAt, agentBeatAt, ...rest } = record;
      const moved = {
        claimedAt: claimedAt - silenceMs,
        vmBeatAt: earlier(vmBeatAt),
        agentBeatAt: earlier(agentBeatAt),
      };
      state.storage.kv.put('record', { ...rest, ...moved, alarmAt: Date.now() - lateMs });
    }
    await Promise.all(Array.from({ length: times }, () => object.alarm()));
  });

async function act(world: World, { action, pick }: Action): Promise<void> {
  const buildId = world.buildIds[pick % world.buildIds.length]!;
  const worker = world.workers[pick % world.workers.length]!;
  const assignment = world.given.length > 0 ? world.given[pick % world.given.length]! : null;
  const say = async (said: Parameters<typeof report>[1]) => {
    if (!assignment) return;
    world.last = () => report(assignment, said);
    const { status } = await world.last();
    expect([200, 409, 410]).toContain(status);
  };
  switch (action) {
    case 'claim': {
      const { body } = await claim(worker);
      if (body.assignment) world.given.push(body.assignment);
      return;
    }
    case 'agentBeat':
    case 'vmBeat': {
      if (!assignment) return;
      const { status } = await beat(assignment, action === 'vmBeat' ? 'vm' : 'agent', {
        stage: 'building',
        outputAgeMs: 0,
      });
      const row = await db.query.builds.findFirst({ where: eq(builds.id, assignment.buildId) });
      const current = row !== undefined && isActive(row.status) && row.attempt === assignment.attempt;
      if (current) expect(status).toBe(200);
      return;
    }
    case 'start':
      return say({ type: 'start' });
    case 'succeed':
      return say({ type: 'succeed', artifacts: [] });
    case 'failUser':
      return say({ type: 'fail', verdict: 'build_failed', exitCode: 1 });
    case 'failInfrastructure':
      return say({ type: 'fail', verdict: 'vm_exited' });
    case 'handBack':
      return say({ type: 'fail', verdict: 'vm_start_failed', handBack: 'vm_limit' });
    case 'repeatLastReport':
      await world.last?.();
      return;
    case 'cancel':
      await api('POST', `/api/builds/${buildId}/cancel`);
      return;
    case 'retry': {
      const { status, body } = await api<{ id: string }>('POST', `/api/builds/${buildId}/retry`);
      if (status === 201) world.buildIds.push(body.id);
      return;
    }
    case 'supersede':
      world.buildIds.push(await aBuild({ ...world.group, maxAttempts: 2, cancelSuperseded: true }));
      return;
    case 'deadlinePasses':
      return letPass(buildId, 200_000, 0, 1);
    case 'alarmTwice':
      return letPass(buildId, 200_000, 0, 2);
    case 'alarmLate':
      return letPass(buildId, 200_000, 60_000, 1);
    case 'timePasses':
      await db.update(builds).set({ notBefore: 0, avoidUntil: 0 }).where(eq(builds.id, buildId));
      return;
    case 'sweep':
      return sweep(env, Date.now(), 0);
  }
}

async function check(world: World): Promise<void> {
  for (const buildId of world.buildIds) {
    const [[row], tried, timeline] = await db.batch([
      db.select().from(builds).where(eq(builds.id, buildId)),
      db.select().from(attempts).where(eq(attempts.buildId, buildId)).orderBy(asc(attempts.attempt)),
      db.select().from(events).where(eq(events.buildId, buildId)).orderBy(asc(events.id)),
    ]);
    if (!row) throw new Error(`build ${buildId} is gone`);

    // There is one current attempt, and it runs exactly if the build does.
    expect(tried.map(({ attempt }) => attempt)).toEqual(Array.from({ length: row.attempt }, (_, i) => i + 1));
    const running = tried.filter(({ endedAt }) => endedAt === null).map(({ attempt }) => attempt);
    expect(running).toEqual(isActive(row.status) ? [row.attempt] : []);

    // The event log agrees with the row. Replayed through the table it leads to the same status, and it ends
    // each attempt once.
    let status: BuildStatus = 'queued';
    for (const { type } of timeline) {
      if (type === 'submitted' || type === 'evidence') continue;
      const next: BuildStatus | undefined = (TRANSITIONS[status] as Partial<Record<EventType, BuildStatus>>)[
        type as EventType
      ];
      if (!next) throw new Error(`${buildId}: ${type} after ${status}`);
      status = next;
    }
    expect(status).toBe(row.status);
    for (const { attempt } of tried) {
      const endings = timeline.filter(
        (event) => event.attempt === attempt && ['succeed', 'fail', 'requeue', 'hand_back'].includes(event.type),
      );
      expect(endings.length).toBeLessThanOrEqual(1);
    }

    // Row, attempts and event log agree on the attempts that were handed back. No others are left out of the
    // count.
    const handedBack = tried.filter((attempt) => attempt.handedBack).map(({ attempt }) => attempt);
    const told = timeline.filter(({ type }) => type === 'hand_back').map(({ attempt }) => attempt);
    expect(told).toEqual(handedBack);
    expect(row.handBacks).toBe(handedBack.length);
    expect(row.handBacks).toBeLessThanOrEqual(HAND_BACKS_MAX);
    expect(row.attempt - row.handBacks).toBeLessThanOrEqual(row.maxAttempts);

    // A build that has ended never changes, not by a byte.
    if (isFinal(row.status)) {
      const now = JSON.stringify([row.status, row.verdict, row.endedAt, row.attempt]);
      expect(now).toBe(world.final.get(buildId) ?? now);
      world.final.set(buildId, now);
    }

    // Every active build has a deadline.
    if (isActive(row.status)) {
      const [record, alarm] = await runInDurableObject(deadlineOf(buildId), async (_object, state) => [
        state.storage.kv.get<DeadlineRecord>('record'),
        await state.storage.getAlarm(),
      ]);
      expect(record).toMatchObject({ state: 'armed', attempt: row.attempt });
      expect(alarm).not.toBeNull();
    }
  }
  // The load of the projects is what a count of the builds says.
  expect(await wrongLoads(env.DB)).toEqual([]);
  // No worker holds more attempts than it has slots.
  for (const worker of world.workers) {
    const held = await db.query.attempts.findMany({
      where: (table, { and, isNull }) => and(eq(table.workerId, worker.id), isNull(table.endedAt)),
    });
    expect(held.length).toBeLessThanOrEqual(1);
  }
}

test('after every step of every interleaving the invariants hold', { timeout: 3_600_000 }, async () => {
  const step: fc.Arbitrary<Action> = fc.record({ action: fc.constantFrom(...ACTIONS), pick: fc.nat(11) });
  let sequences = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: STEPS_MAX, size: 'max' }), async (steps) => {
      sequences++;
      const world = await aWorld();
      // Half of the builds are claimed at once, so that short sequences reach later states too.
      await act(world, { action: 'claim', pick: 0 });
      for (const next of steps) {
        await act(world, next);
        await check(world);
      }
      // Once the outbox is empty, no ended build has a deadline that runs. The later time includes work that
      // a try in the background has put off.
      await drainOutbox(env, Date.now() + HOUR_MS);
      for (const buildId of world.buildIds) {
        const row = await db.query.builds.findFirst({ where: eq(builds.id, buildId) });
        if (!row || isActive(row.status) || row.attempt === 0) continue;
        const record = await runInDurableObject(deadlineOf(buildId), (_object, state) =>
          state.storage.kv.get<DeadlineRecord>('record'),
        );
        if (record?.attempt === row.attempt) expect(record.state).toBe('ended');
      }
    }),
    { numRuns: Number(env.SEQUENCES), seed: Number(env.SEED), endOnFailure: Number(env.SEQUENCES) > 1_000 },
  );
  expect(sequences).toBeGreaterThanOrEqual(Number(env.SEQUENCES));
});
