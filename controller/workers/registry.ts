/**
 * The only module that changes `workers`: registration, what an admin wants of a worker, what its agent says of itself.
 * A worker's state is derived from these and from its attempts, never stored.
 */
import { and, desc, eq, gt, inArray, isNotNull, isNull, ne, or, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import type { Finding, FindingsReport, Worker, WorkerPatch, WorkerRequest, WorkerState, WorkerStatus } from '#contract';
import { activeAttempts, apply } from '../builds/apply.ts';
import { isInfrastructure } from '../builds/verdicts.ts';
import { newId } from '../ids.ts';
import { type Refusal, refusal } from '../refusals.ts';
import * as schema from '../schema.ts';
import { attempts, builds, keys, workers } from '../schema.ts';

export type WorkerRow = typeof workers.$inferSelect;

/** `last_seen` is written at most this often; a worker is offline when it has not been heard for two timeouts. */
const SEEN_EVERY_MS = 60_000;
/** So many attempts in a row lost to the infrastructure, and a worker is trusted no more until its doctor passes. */
const QUARANTINE_AFTER = 3;

const open = (env: Env) => drizzle(env.DB, { schema });

export async function registerWorker(
  env: Env,
  request: Omit<WorkerRequest, 'credential'>,
  now: number,
): Promise<{ ok: true; row: WorkerRow } | Refusal> {
  const row = { id: newId('w', now), ...request, trustedSince: now, createdAt: now };
  const inserted = await open(env).insert(workers).values(row).onConflictDoNothing().returning();
  return inserted[0]
    ? { ok: true, row: inserted[0] }
    : refusal('invalid_request', `name: there is already a worker ${request.name}`);
}

export const findWorker = (env: Env, workerId: string): Promise<WorkerRow | undefined> =>
  open(env).query.workers.findFirst({ where: and(eq(workers.id, workerId), isNull(workers.removedAt)) });

export const listWorkers = (env: Env): Promise<WorkerRow[]> =>
  open(env).query.workers.findMany({ where: isNull(workers.removedAt), orderBy: workers.name, limit: 1_000 });

export async function patchWorker(env: Env, workerId: string, { action }: WorkerPatch): Promise<WorkerRow | undefined> {
  const paused = action === 'resume' ? null : action;
  const rows = await open(env)
    .update(workers)
    .set({ paused })
    .where(and(eq(workers.id, workerId), isNull(workers.removedAt)))
    .returning();
  return rows[0];
}

/** Removes a worker: its keys are revoked at once and its attempts end. Its name is free again. */
export async function removeWorker(env: Env, workerId: string, now: number): Promise<boolean> {
  const db = open(env);
  const [removed] = await db.batch([
    db
      .update(workers)
      .set({ removedAt: now, name: sql`${workers.name} || ':removed:' || ${workers.id}` })
      .where(and(eq(workers.id, workerId), isNull(workers.removedAt)))
      .returning(),
    db
      .update(keys)
      .set({ revokedAt: now })
      .where(and(eq(keys.workerId, workerId), isNull(keys.revokedAt))),
  ]);
  await endAttemptsOf(env, workerId, 'the worker was removed', now);
  return removed.length > 0;
}

/** Ends what a worker holds when it may no longer act: removed, or its key revoked. */
export async function endAttemptsOf(env: Env, workerId: string, message: string, now: number): Promise<void> {
  for (const { build, attempt } of await activeAttempts(env, workerId)) {
    await apply(
      env,
      build.id,
      { type: 'fail', attempt: attempt.attempt, failure: { verdict: 'worker_stopped', message } },
      now,
    );
  }
}

/** Notes that the agent `instanceId` was heard. Refused while another installation acts for the same worker. */
export async function hearFrom(
  env: Env,
  worker: WorkerRow,
  instanceId: string,
  workerTimeoutMs: number,
  now: number,
): Promise<{ ok: true } | Refusal> {
  const everyMs = Math.min(SEEN_EVERY_MS, workerTimeoutMs / 2);
  if (worker.instanceId === instanceId && worker.lastSeen !== null && now - worker.lastSeen < everyMs)
    return { ok: true };
  const taken = await open(env)
    .update(workers)
    .set({ instanceId, lastSeen: now })
    .where(
      and(
        eq(workers.id, worker.id),
        or(
          isNull(workers.instanceId),
          eq(workers.instanceId, instanceId),
          sql`${workers.lastSeen} <= ${now - workerTimeoutMs}`,
        ),
      ),
    )
    .returning({ id: workers.id });
  if (taken.length > 0) return { ok: true };
  return refusal(
    'worker_in_use',
    `another agent is using worker ${worker.name}: it was heard within the last ${Math.round(workerTimeoutMs / 1000)} s. Stop it, or register this Mac as a worker of its own.`,
  );
}

/** The doctor's report, from the installation that acts for this worker or from the first one. */
export async function noteFindings(
  env: Env,
  worker: WorkerRow,
  { instanceId, findings }: FindingsReport,
  now: number,
): Promise<{ ok: true; row: WorkerRow } | Refusal> {
  if (worker.instanceId !== null && worker.instanceId !== instanceId)
    return refusal('worker_in_use', `another agent is using worker ${worker.name}: run the doctor on its Mac`);
  const set = afterDoctor(findings, now);
  await open(env).update(workers).set(set).where(eq(workers.id, worker.id));
  return { ok: true, row: { ...worker, ...set } };
}

/** Without a blocking failure, a doctor's report ends quarantine. */
const afterDoctor = (findings: Finding[], now: number) =>
  findings.some(({ status, blocking }) => blocking && status === 'fail')
    ? { findings }
    : { findings, trustedSince: now };

/** The agent's own word. */
export async function noteStatus(env: Env, worker: WorkerRow, status: WorkerStatus, now: number): Promise<WorkerRow> {
  const { slotsInUse, vms, agentVersion, findings } = status;
  const rows = await open(env)
    .update(workers)
    .set({
      slotsInUse,
      vms,
      agentVersion,
      lastSeen: now,
      ...(findings ? afterDoctor(findings, now) : {}),
    })
    .where(eq(workers.id, worker.id))
    .returning();
  return rows[0] ?? worker;
}

/** True if the last {@link QUARANTINE_AFTER} attempts since the worker was trusted were lost to the infrastructure. */
export async function isQuarantined(env: Env, worker: WorkerRow): Promise<boolean> {
  const last = await open(env)
    .select({ verdict: attempts.verdict })
    .from(attempts)
    .where(
      and(eq(attempts.workerId, worker.id), isNotNull(attempts.endedAt), gt(attempts.claimedAt, worker.trustedSince)),
    )
    .orderBy(desc(attempts.endedAt))
    .limit(QUARANTINE_AFTER);
  return last.length === QUARANTINE_AFTER && last.every(({ verdict }) => verdict !== null && isInfrastructure(verdict));
}

/** True if another worker could take a build of `worker`'s pool for `platform` now. */
export async function hasAlternative(env: Env, worker: WorkerRow, heardSince: number): Promise<boolean> {
  const other = await open(env).query.workers.findFirst({
    where: and(
      eq(workers.pool, worker.pool),
      ne(workers.id, worker.id),
      isNull(workers.removedAt),
      isNull(workers.paused),
      gt(workers.lastSeen, heardSince),
    ),
  });
  return other !== undefined;
}

interface Facts {
  row: WorkerRow;
  activeBuilds: number;
  quarantined: boolean;
  now: number;
  workerTimeoutMs: number;
}

/** Pure. The first that holds, in this order, is the state. */
export function stateOf({ row, activeBuilds, quarantined, now, workerTimeoutMs }: Facts): {
  state: WorkerState;
  reason: string | null;
} {
  if (row.lastSeen === null) return { state: 'offline', reason: 'its agent has never been heard' };
  if (now - row.lastSeen > 1.5 * workerTimeoutMs) {
    return { state: 'offline', reason: `its agent was last heard at ${new Date(row.lastSeen).toISOString()}` };
  }
  const busy = activeBuilds >= row.slots;
  if (row.paused && activeBuilds === 0) {
    return { state: 'paused', reason: row.paused === 'drain' ? 'drained by an operator' : 'paused by an operator' };
  }
  if (quarantined && activeBuilds === 0) {
    return {
      state: 'quarantined',
      reason: `its last ${QUARANTINE_AFTER} attempts were lost to the infrastructure; it resumes when \`expo-worker doctor\` passes`,
    };
  }
  if (busy || activeBuilds > 0) return { state: 'busy', reason: null };
  if (row.slotsInUse > 0) return { state: 'cleaning', reason: 'its last VM is not gone yet' };
  return { state: 'idle', reason: null };
}

/** The worker as the API shows it. */
export async function viewWorkers(
  env: Env,
  rows: WorkerRow[],
  workerTimeoutMs: number,
  now: number,
): Promise<Worker[]> {
  const active = rows.length
    ? await open(env)
        .select({ workerId: attempts.workerId, buildId: attempts.buildId })
        .from(attempts)
        .innerJoin(builds, and(eq(builds.id, attempts.buildId), eq(builds.attempt, attempts.attempt)))
        .where(and(isNull(attempts.endedAt), inArray(builds.status, ['assigned', 'building'])))
    : [];
  return Promise.all(
    rows.map(async (row) => {
      const held = active.filter(({ workerId }) => workerId === row.id).map(({ buildId }) => buildId);
      const quarantined = await isQuarantined(env, row);
      const { state, reason } = stateOf({ row, activeBuilds: held.length, quarantined, now, workerTimeoutMs });
      const { id, name, pool, platforms, slots, slotsInUse, vms, findings } = row;
      return {
        id,
        name,
        state,
        stateReason: reason,
        pool,
        platforms,
        slots,
        slotsInUse,
        vms,
        builds: held,
        lastSeenAt: row.lastSeen === null ? null : new Date(row.lastSeen).toISOString(),
        createdAt: new Date(row.createdAt).toISOString(),
        findings,
      };
    }),
  );
}
