/**
 * Writes every change of a build: its row, attempt, event, artifacts and outbox, all of them in one batch or
 * none.
 *
 * Invariant: the event log agrees with the row. The first statement of a batch is a compare-and-set on status
 * and attempt. The later statements look for the transition id that it wrote, so they do nothing if it lost.
 *
 * Owns `builds`, `attempts`, `events` and `artifacts` together with marks.ts, and adds rows to `outbox`.
 * upkeep/retention.ts alone removes or empties such rows.
 */
import { and, eq, isNotNull, isNull, type SQL, sql } from 'drizzle-orm';
import type { BatchItem } from 'drizzle-orm/batch';
import { AFTERMATH_MS, type Evidence, type LogTotal } from '#contract';
import { insertIf, openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { artifacts, attempts, builds, events, outbox } from '../schema.ts';
import { causeOf } from './causes.ts';
import { type BuildEvent, effectsOf } from './effects.ts';
import { type AttemptRow, type BuildRow, findAttempt, findBuild } from './rows.ts';
import { decide, failureType } from './transitions.ts';

export type Applied = { ok: true; build: BuildRow; changed: boolean } | Refusal;

/**
 * A compare-and-set that lost a race is decided again from the new row. Each lost race means that another one
 * won.
 */
const RACES_MAX = 8;

/**
 * Adds a queued build and its first event. The same idempotency key with the same request answers the stored
 * build. Refused: `blob_not_stored` if the source is not stored, `idempotency_mismatch`.
 */
export async function insertBuild(env: Env, row: typeof builds.$inferInsert): Promise<Applied> {
  const db = openDatabase(env);
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
    : refusal('idempotency_mismatch', 'idempotencyKey: an earlier request used it for another build; choose a new one');
}

/**
 * Applies `event` to a build, or says why not.
 *
 * @param guard a further condition on the row of `builds`, which the compare-and-set checks itself
 * @throws if D1 fails; it is then unknown whether the change was made, and the caller may safely ask again
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
      // An agent may repeat the report that ended an attempt, but not change it.
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

/**
 * Writes all of `effects`, or nothing. Returns the row as written, or `undefined` if the compare-and-set
 * lost.
 */
async function commit(
  env: Env,
  build: BuildRow,
  effects: ReturnType<typeof effectsOf>,
  guard?: SQL,
): Promise<BuildRow | undefined> {
  const db = openDatabase(env);
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
 * Adds to an ended attempt what the agent saw of it, from which the cause follows. Nothing else may be added.
 * It works once, within the aftermath. An exact repetition is accepted and writes nothing.
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
  if (attempt.endedAt === null)
    return refusal('illegal_transition', 'evidence is accepted only after the end of its attempt');
  if (attempt.evidence) {
    const same = JSON.stringify(attempt.evidence) === JSON.stringify(evidence);
    return same
      ? { ok: true, build, changed: false }
      : refusal('attempt_ended', 'the attempt already has other evidence');
  }
  if (now > attempt.endedAt + AFTERMATH_MS) return refusal('attempt_ended', 'the attempt ended too long ago');
  const { verdict, verdictStep: step, verdictMessage: message } = attempt;
  const cause = verdict ? causeOf({ verdict, step, message }, evidence, build.timeouts) : null;
  const db = openDatabase(env);
  const here = and(
    eq(attempts.buildId, buildId),
    eq(attempts.attempt, attemptNumber),
    isNotNull(attempts.endedAt),
    isNull(attempts.evidence),
  );
  const total = log && attempt.logLength === null ? { logLength: log.length, logSha256: log.sha256 } : {};
  // The event comes before the update under the same condition, because the update makes the condition false.
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

/** True for an exact repetition of the report that ended this attempt: the stored outcome answers it. */
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

const hasApplied = (buildId: string, transitionId: string): SQL =>
  sql`EXISTS (SELECT 1 FROM builds WHERE id = ${buildId} AND transition_id = ${transitionId})`;

/**
 * D1 names a violated constraint in the message alone. Drizzle wraps the error of a single statement, not of
 * a batch.
 */
function isForeignKeyError(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause)
    if (e.message.includes('FOREIGN KEY constraint failed')) return true;
  return false;
}
