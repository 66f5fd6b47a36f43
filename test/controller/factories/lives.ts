/**
 * Tells whole lives of a build as agents, submitters and the cron make them. Each step is a request that is
 * repeated until it is answered. A failure on the way must not show at the end.
 */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { asc, eq } from 'drizzle-orm';
import type { Assignment, Cause, Verdict } from '#contract';
import type { BuildDeadline } from '../../../controller/attempts/build-deadline.ts';
import type { DeadlineRecord } from '../../../controller/attempts/silence.ts';
import * as schema from '../../../controller/schema/index.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { withFaultyDatabase } from './faulty-database.ts';
import { bytesOf, call, db, HOUR_MS, sha256Of, unique } from './rows.ts';
import { api, beat, claim, report, type TestWorker, workersIn } from './scenarios.ts';

export interface Told {
  status: number;
}
/** A 5xx says that the outcome is unknown, so the client asks again. */
export type Step = (life: Life) => Promise<Told>;

export interface LifeStory {
  name: string;
  steps: readonly Step[];
  /** The number of the first step that no other story has. */
  from?: Step;
  /** The types of the events of the build, in order. */
  events: readonly string[];
  status: string;
  verdict: Verdict | null;
  causes?: readonly (Cause | null)[];
  /** How many attempts have evidence; none if it is left out. */
  evidence?: number;
}

export interface Life {
  pool: string;
  workers: TestWorker[];
  /** Used for the whole life, so that a repeated request is the same. */
  ids: { submission: string; claims: string[] };
  content: string;
  buildId: string;
  assignment: Assignment | null;
  /** The time of the background work. It moves an hour at each try, so that a failed part is tried again. */
  now: number;
}

export async function aLife(): Promise<Life> {
  const pool = unique('pool');
  return {
    pool,
    workers: await workersIn(pool, 2),
    ids: { submission: unique('submission'), claims: [unique('claim'), unique('claim')] },
    content: unique('content'),
    buildId: '',
    assignment: null,
    now: Date.now(),
  };
}

const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const log = { length: 0, sha256: EMPTY_SHA256 };
const evidence = { collectedAt: '2026-01-01T00:00:00.000Z', vm: 'running' as const, ssh: { answers: false } };

/** A call within this process throws instead of answering 5xx. */
const orThrown = (work: Promise<unknown>): Promise<Told> =>
  work.then(
    () => ({ status: 200 }),
    () => ({ status: 500 }),
  );

const upload: Step = async ({ content }) => {
  const bytes = bytesOf(content);
  const { status } = await call(`/api/blobs/${await sha256Of(bytes)}`, env.ADMIN_KEY, { method: 'PUT', body: bytes });
  return { status };
};

const uploadArtifact: Step = async ({ content, buildId, assignment }) => {
  const bytes = bytesOf(content);
  const path = `/api/builds/${buildId}/blobs/${await sha256Of(bytes)}`;
  const { status } = await call(path, assignment!.tokens.run, { method: 'PUT', body: bytes });
  return { status };
};

const submit =
  (request: object = {}): Step =>
  async (life) => {
    const { status, body } = await api<{ id: string }>('POST', '/api/builds', {
      source: { sha256: await sha256Of(bytesOf(life.content)) },
      ...{ command: 'make', platform: 'ios', pool: life.pool, idempotencyKey: life.ids.submission },
      env: { TOKEN: 'secret' },
      ...request,
    });
    if (status < 300) life.buildId = body.id;
    return { status };
  };

const claimBy =
  (index: number): Step =>
  async (life) => {
    const { status, body } = await claim(life.workers[index]!, life.ids.claims[index]);
    if (status < 300) life.assignment = body.assignment;
    return { status };
  };

/** Makes the build claimable at once, instead of when a lost worker's VM must have been deleted. */
const holdIsOver: Step = ({ buildId }) =>
  orThrown(db.update(schema.builds).set({ notBefore: 0 }).where(eq(schema.builds.id, buildId)));

const beats =
  (source: 'agent' | 'vm'): Step =>
  ({ assignment }) =>
    beat(assignment!, source, source === 'agent' ? { stage: 'building', outputAgeMs: 0 } : { progress: 10 });

const says =
  (said: (life: Life) => Parameters<typeof report>[1] | Promise<Parameters<typeof report>[1]>): Step =>
  async (life) =>
    report(life.assignment!, await said(life));

const start = says(() => ({ type: 'start' }));
const succeed = says(async ({ content }) => {
  const bytes = bytesOf(content);
  const artifact = { name: 'app.ipa', sha256: await sha256Of(bytes), size: bytes.length };
  return { type: 'succeed', artifacts: [artifact], log };
});
const handBack = says(() => ({ type: 'fail', verdict: 'vm_start_failed', handBack: 'vm_limit', evidence, log }));
const failWith = (verdict: 'vm_exited' | 'build_failed') => says(() => ({ type: 'fail', verdict, evidence, log }));
const tellEvidence = says(() => ({ type: 'evidence', evidence, log }));
const cancel: Step = ({ buildId }) => api('POST', `/api/builds/${buildId}/cancel`);

const deadlineOf = (buildId: string) => env.DEADLINES.getByName(buildId);

/** Lets a deadline pass now, and runs its alarm, again if it booked itself anew. */
const fallSilent: Step = async ({ buildId }) => {
  await runInDurableObject(deadlineOf(buildId), async (object: BuildDeadline, state) => {
    const record = state.storage.kv.get<DeadlineRecord>('record');
    if (record?.state !== 'armed') return;
    if (!record.judging) {
      const silent = { claimedAt: Date.now() - 200_000, agentBeatAt: null, vmBeatAt: null };
      state.storage.kv.put('record', { ...record, ...silent, alarmAt: Date.now() });
    }
    await object.alarm();
  });
  const ended = await runInDurableObject(deadlineOf(buildId), (_object, state) => {
    return state.storage.kv.get<DeadlineRecord>('record')?.state !== 'armed';
  });
  return { status: ended ? 200 : 503 };
};

/** Deletes all that the object has stored. */
const forget: Step = ({ buildId }) =>
  orThrown(runInDurableObject(deadlineOf(buildId), (_object, state) => state.storage.deleteAll()));

const expire: Step = async ({ buildId }) => {
  await sweep(withFaultyDatabase(env), Date.now() + 1_000, 0);
  const [row] = await db.select().from(schema.builds).where(eq(schema.builds.id, buildId));
  return { status: row?.status === 'queued' ? 503 : 200 };
};

/** Works until nothing is left to do for this build. */
const finish: Step = async (life) => {
  const { buildId } = life;
  const told = await orThrown(drainOutbox(withFaultyDatabase(env), (life.now += HOUR_MS), { buildId }));
  if (told.status !== 200) return told;
  const left = await db.select().from(schema.outbox).where(eq(schema.outbox.buildId, buildId));
  return { status: left.length === 0 ? 200 : 503 };
};

const begin = [upload, submit(), claimBy(0), beats('agent'), beats('vm'), start];
const failInfrastructure = failWith('vm_exited');

export const LIVES: readonly LifeStory[] = [
  {
    name: 'succeeds',
    steps: [...begin, uploadArtifact, succeed, succeed, finish],
    events: ['submitted', 'claim', 'start', 'succeed'],
    status: 'succeeded',
    verdict: null,
  },
  {
    name: 'is lost to the infrastructure, and then to its user',
    from: failInfrastructure,
    steps: [
      ...[upload, submit({ maxAttempts: 2 }), claimBy(0), beats('agent'), start, failInfrastructure],
      ...[claimBy(1), beats('agent'), start, failWith('build_failed'), finish],
    ],
    events: ['submitted', 'claim', 'start', 'requeue', 'claim', 'start', 'fail'],
    status: 'failed',
    verdict: 'build_failed',
    causes: ['vm_exited', null],
    evidence: 2,
  },
  {
    name: 'is handed back, and then fails',
    from: handBack,
    steps: [
      ...[upload, submit(), claimBy(0), beats('agent'), handBack],
      ...[claimBy(1), beats('agent'), start, failWith('build_failed'), finish],
    ],
    events: ['submitted', 'claim', 'hand_back', 'claim', 'start', 'fail'],
    status: 'failed',
    verdict: 'build_failed',
    causes: ['vm_limit', null],
    evidence: 2,
  },
  {
    name: 'falls silent, and its deadline object had lost what it knew',
    from: forget,
    steps: [...begin, forget, beats('agent'), fallSilent, tellEvidence, finish],
    events: ['submitted', 'claim', 'start', 'fail', 'evidence'],
    status: 'failed',
    verdict: 'worker_lost',
    // A dead SSH of the VM does not tell why the agent was silent.
    causes: ['unknown'],
    evidence: 1,
  },
  {
    name: 'falls silent and runs again',
    from: fallSilent,
    steps: [
      ...[upload, submit({ maxAttempts: 2 }), claimBy(0), beats('agent'), start, fallSilent],
      ...[holdIsOver, claimBy(1), beats('vm'), cancel, finish],
    ],
    events: ['submitted', 'claim', 'start', 'requeue', 'claim', 'cancel'],
    status: 'cancelled',
    verdict: 'cancelled',
    causes: [null, null],
  },
  {
    name: 'is cancelled',
    from: cancel,
    steps: [...begin, cancel, tellEvidence, finish],
    events: ['submitted', 'claim', 'start', 'cancel', 'evidence'],
    status: 'cancelled',
    verdict: 'cancelled',
    evidence: 1,
  },
  {
    name: 'is taken by nobody',
    from: expire,
    steps: [upload, submit({ timeouts: { queueTimeoutMs: 1 } }), expire],
    events: ['submitted', 'expire'],
    status: 'failed',
    verdict: 'queue_expired',
  },
];

/** The state of the build without the background work: the sealing of logs, and the notes of the sweep. */
export async function whatIs(buildId: string) {
  const { build, attempts, events, artifacts, inputs, evidence } = await rowsOf(buildId);
  const ended = attempts.map(({ attempt, verdict, cause, endedAt }) => [attempt, verdict, cause, endedAt]);
  return { transition: build?.transitionId, status: build?.status, ended, events, artifacts, inputs, evidence };
}

/** All rows about the build. */
export async function rowsOf(buildId: string) {
  const { builds, attempts, events, artifacts, buildInputs, attemptEvidence } = schema;
  const [[build], tried, timeline, files, inputs, evidence] = await db.batch([
    db.select().from(builds).where(eq(builds.id, buildId)),
    db.select().from(attempts).where(eq(attempts.buildId, buildId)).orderBy(asc(attempts.attempt)),
    db.select().from(events).where(eq(events.buildId, buildId)).orderBy(asc(events.id)),
    db.select().from(artifacts).where(eq(artifacts.buildId, buildId)),
    db.select().from(buildInputs).where(eq(buildInputs.buildId, buildId)),
    db.select().from(attemptEvidence).where(eq(attemptEvidence.buildId, buildId)),
  ]);
  return { build, attempts: tried, events: timeline, artifacts: files, inputs, evidence };
}
