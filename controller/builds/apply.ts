/**
 * The only module that changes `builds`, `attempts` and `events`. Every change is one compare-and-set on status and
 * attempt; row, attempt, event, artifacts and outbox go together in one batch, of which all or nothing happens.
 *
 * Invariant: the event log agrees with the row. No later statement of a batch does anything unless the first one, the
 * compare-and-set, did: they look for the transition id that it wrote.
 */
import { and, desc, eq, getTableColumns, isNotNull, isNull, type SQL, sql } from 'drizzle-orm';
import type { BatchItem } from 'drizzle-orm/batch';
import { type DrizzleD1Database, drizzle } from 'drizzle-orm/d1';
import type { SQLiteTable } from 'drizzle-orm/sqlite-core';
import { AFTERMATH_MS, type Evidence, type LogTotal } from '#contract';
import { type Refusal, refusal } from '../refusals.ts';
import * as schema from '../schema.ts';
import { artifacts, attempts, builds, events, outbox } from '../schema.ts';
import { causeOf } from './causes.ts';
import { type AttemptRow, type BuildEvent, type BuildRow, effectsOf, silenceMs } from './effects.ts';
import { decide, failureType, isActive } from './transitions.ts';

export type Applied = { ok: true; build: BuildRow; changed: boolean } | Refusal;

/** A compare-and-set that lost its race is decided again from the new row; each round means that somebody else won. */
const RACES_MAX = 8;

type Db = DrizzleD1Database<typeof schema>;
const open = (env: Env): Db => drizzle(env.DB, { schema });

export const findBuild = (env: Env, buildId: string): Promise<BuildRow | undefined> =>
  open(env).query.builds.findFirst({ where: eq(builds.id, buildId) });

export const findAttempt = (env: Env, buildId: string, attempt: number): Promise<AttemptRow | undefined> =>
  open(env).query.attempts.findFirst({ where: and(eq(attempts.buildId, buildId), eq(attempts.attempt, attempt)) });

/**
 * Adds a queued build and its first event. The same idempotency key with the same request answers the build that is
 * stored. Refused: `blob_not_stored` for an absent source, `idempotency_mismatch`.
 */
export async function insertBuild(env: Env, row: typeof builds.$inferInsert): Promise<Applied> {
  const db = open(env);
  const detail = row.retryOf ? { retryOf: row.retryOf } : {};
  const event = { buildId: row.id, attempt: 0, type: 'submitted', at: row.createdAt, detail };
  try {
    await db.batch([
      db.insert(builds).values(row).onConflictDoNothing(),
      insertIf(db, events, event, hasApplied(row.id, row.transitionId)),
    ]);
  } catch (error) {
    if (!isForeignKeyError(error)) throw error;
    return refusal('blob_not_stored', `source.sha256: ${row.sourceSha256} is not stored; upload it first`);
  }
  const stored = await findBuild(env, row.id);
  if (stored) return { ok: true, build: stored, changed: true };
  const earlier = await db.query.builds.findFirst({
    where: and(eq(builds.createdByKey, row.createdByKey ?? ''), eq(builds.idempotencyKey, row.idempotencyKey ?? '')),
  });
  if (!earlier) throw new Error(`build ${row.id} was neither inserted nor already there`);
  return earlier.requestHash === row.requestHash
    ? { ok: true, build: earlier, changed: false }
    : refusal('idempotency_mismatch', 'idempotencyKey: used before, for another request');
}

/**
 * Applies `event` to a build, or says why not.
 *
 * @param guard a further condition on the row of `builds`, checked in the compare-and-set itself
 * @throws if D1 fails; whether the change was made is then unknown, and asking again is safe
 */
export async function apply(env: Env, buildId: string, event: BuildEvent, now: number, guard?: SQL): Promise<Applied> {
  for (let race = 0; race < RACES_MAX; race++) {
    const build = await findBuild(env, buildId);
    if (!build) return refusal('not_found', `there is no build ${buildId}`);
    const current = build.attempt > 0 ? await findAttempt(env, buildId, build.attempt) : undefined;
    if (await isRepetition(env, build, current, event)) return { ok: true, build, changed: false };

    const settled: BuildEvent =
      event.type === 'fail'
        ? { ...event, type: failureType(event.failure.verdict, event.attempt, build.maxAttempts) }
        : event;
    const decision = decide(build, settled.type, 'attempt' in event ? event.attempt : null);
    if (!decision.ok) return decision;
    if (!decision.changes) {
      // A report that ended an attempt may be repeated, not altered.
      const altered = event.type === 'succeed' || event.type === 'fail';
      return altered
        ? refusal('attempt_ended', `the build has ended: ${build.status}`)
        : { ok: true, build, changed: false };
    }
    const effects = effectsOf(build, current?.workerId ?? null, settled, decision.to, now);
    try {
      const after = await commit(env, build, effects, guard);
      if (after) return { ok: true, build: after, changed: true };
    } catch (error) {
      if (!isForeignKeyError(error)) throw error;
      return refusal('artifact_not_stored', 'artifacts: a file that the report names is not stored; upload it again');
    }
    if (guard) return refusal('illegal_transition', 'the build or its worker is no longer free for this');
  }
  throw new Error(`build ${buildId}: ${RACES_MAX} lost races in a row`);
}

/** Writes all of `effects`, or nothing. Returns the row as written, or `undefined` if the compare-and-set lost. */
async function commit(
  env: Env,
  build: BuildRow,
  effects: ReturnType<typeof effectsOf>,
  guard?: SQL,
): Promise<BuildRow | undefined> {
  const db = open(env);
  const transitionId = crypto.randomUUID();
  const applied = hasApplied(build.id, transitionId);
  const compareAndSet = db
    .update(builds)
    .set({ ...effects.build, transitionId })
    .where(and(eq(builds.id, build.id), eq(builds.attempt, build.attempt), eq(builds.status, build.status), guard))
    .returning();
  const rest: BatchItem<'sqlite'>[] = [insertIf(db, events, effects.event, applied)];
  if (effects.newAttempt) rest.push(insertIf(db, attempts, effects.newAttempt, applied));
  if (effects.attempt) {
    const active = and(
      eq(attempts.buildId, build.id),
      eq(attempts.attempt, build.attempt),
      isNull(attempts.endedAt),
      applied,
    );
    rest.push(db.update(attempts).set(effects.attempt).where(active));
  }
  for (const artifact of effects.artifacts) rest.push(insertIf(db, artifacts, artifact, applied));
  for (const work of effects.outbox) rest.push(insertIf(db, outbox, work, applied));
  const [rows] = await db.batch([compareAndSet, ...rest]);
  return rows[0];
}

/**
 * The one thing that may still be said of an ended attempt: what was seen, from which the cause follows. Once, within
 * the aftermath. An exact repetition is accepted and writes nothing.
 */
export async function addEvidence(
  env: Env,
  buildId: string,
  attemptNumber: number,
  { evidence, log }: { evidence: Evidence; log?: LogTotal },
  now: number,
): Promise<Applied> {
  const [build, attempt] = await Promise.all([findBuild(env, buildId), findAttempt(env, buildId, attemptNumber)]);
  if (!build || !attempt) return refusal('not_found', `there is no attempt ${attemptNumber} of build ${buildId}`);
  if (attempt.endedAt === null) return refusal('illegal_transition', 'evidence comes after the end of an attempt');
  if (attempt.evidence) {
    const same = JSON.stringify(attempt.evidence) === JSON.stringify(evidence);
    return same
      ? { ok: true, build, changed: false }
      : refusal('attempt_ended', 'the evidence of this attempt is already there');
  }
  if (now > attempt.endedAt + AFTERMATH_MS) return refusal('attempt_ended', 'the attempt ended too long ago');
  const cause = attempt.verdict ? causeOf(attempt.verdict, evidence, silenceMs(build)) : null;
  const db = open(env);
  const here = and(
    eq(attempts.buildId, buildId),
    eq(attempts.attempt, attemptNumber),
    isNotNull(attempts.endedAt),
    isNull(attempts.evidence),
  );
  const total = log && attempt.logLength === null ? { logLength: log.length, logSha256: log.sha256 } : {};
  // The event goes first, under the same condition: the update makes that condition false.
  const [, updated] = await db.batch([
    insertIf(
      db,
      events,
      { buildId, attempt: attemptNumber, type: 'evidence', at: now, detail: cause ? { cause } : {} },
      sql`EXISTS (SELECT 1 FROM attempts WHERE ${here})`,
    ),
    db
      .update(attempts)
      .set({ evidence, cause, ...total })
      .where(here)
      .returning(),
  ]);
  return { ok: true, build, changed: updated.length > 0 };
}

/** True for an exact repetition of the report that ended this attempt: answered with the stored outcome. */
async function isRepetition(
  env: Env,
  build: BuildRow,
  current: AttemptRow | undefined,
  event: BuildEvent,
): Promise<boolean> {
  if (!('reportHash' in event) || event.reportHash === undefined) return false;
  const attempt = event.attempt === build.attempt ? current : await findAttempt(env, build.id, event.attempt);
  return attempt !== undefined && attempt.endedAt !== null && attempt.reportHash === event.reportHash;
}

/** What D1 says of a build's current attempt; null if there is no such build or no attempt yet. */
export async function readActive(env: Env, buildId: string) {
  const [row] = await open(env)
    .select({
      status: builds.status,
      attempt: builds.attempt,
      timeouts: builds.timeouts,
      claimedAt: attempts.claimedAt,
    })
    .from(builds)
    .innerJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(eq(builds.id, buildId));
  return row ? { ...row, running: isActive(row.status) } : null;
}

/** Work that was done elsewhere needs no doing any more. */
export async function finishOutbox(
  env: Env,
  kind: (typeof outbox.$inferSelect)['kind'],
  buildId: string,
  attempt: number,
) {
  await open(env)
    .delete(outbox)
    .where(and(eq(outbox.kind, kind), eq(outbox.buildId, buildId), eq(outbox.attempt, attempt)));
}

/** Attempts that `workerId` holds now. */
export async function activeAttempts(env: Env, workerId: string): Promise<{ build: BuildRow; attempt: AttemptRow }[]> {
  const rows = await open(env)
    .select({ build: builds, attempt: attempts })
    .from(attempts)
    .innerJoin(builds, eq(builds.id, attempts.buildId))
    .where(and(eq(attempts.workerId, workerId), isNull(attempts.endedAt)));
  return rows.filter(({ build, attempt }) => isActive(build.status) && build.attempt === attempt.attempt);
}

/** The last attempts of `workerId` that succeeded, newest first. */
export async function lastSucceeded(env: Env, workerId: string, limit: number) {
  return open(env)
    .select({ build: builds, attempt: attempts })
    .from(attempts)
    .innerJoin(builds, and(eq(builds.id, attempts.buildId), eq(builds.attempt, attempts.attempt)))
    .where(and(eq(attempts.workerId, workerId), eq(builds.status, 'succeeded'), isNotNull(attempts.endedAt)))
    .orderBy(desc(attempts.endedAt))
    .limit(limit);
}

const hasApplied = (buildId: string, transitionId: string): SQL =>
  sql`EXISTS (SELECT 1 FROM builds WHERE id = ${buildId} AND transition_id = ${transitionId})`;

/** `INSERT … SELECT … WHERE condition`, with the values encoded as the table's columns say. */
function insertIf<T extends SQLiteTable>(db: Db, table: T, row: T['$inferInsert'], condition: SQL) {
  const values = Object.entries(getTableColumns(table)).map(([name, column]) => {
    const value = row[name as keyof typeof row] ?? column.default;
    return value === undefined ? sql`NULL` : sql`${sql.param(value, column)}`;
  });
  return db.insert(table).select(sql`SELECT ${sql.join(values, sql`, `)} WHERE ${condition}`);
}

/** D1 reports a violated constraint in the message alone; drizzle wraps it for single statements, not for batches. */
function isForeignKeyError(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause)
    if (e.message.includes('FOREIGN KEY constraint failed')) return true;
  return false;
}
