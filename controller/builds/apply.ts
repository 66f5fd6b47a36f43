/**
 * Writes each change of one build: its row, attempt, event, evidence, artifacts and outbox, all of them in
 * one batch or none.
 *
 * Invariant: the event log agrees with the row. The first statement of a batch is a compare-and-set on status
 * and attempt. The later statements look for the transition id that it wrote, so they do nothing if it lost.
 *
 * Owns `builds`, `attempts`, `events`, `attempt_evidence` and `artifacts` together with insert.ts,
 * end-many.ts and writes-without-event.ts, and adds rows to `outbox` and `submission_work`.
 * upkeep/retention.ts alone removes or empties such rows.
 */
import { and, eq, isNotNull, isNull, type SQL, sql } from 'drizzle-orm';
import type { BatchItem } from 'drizzle-orm/batch';
import { type Evidence, isInAftermath, type LogTotal } from '#contract';
import { type Database, insertIf, isForeignKeyError, openDatabase } from '../database.ts';
import { areHeldBy, attemptHolder } from '../files/holds.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { artifacts, attemptEvidence, attempts, builds, events, outbox, submissionWork } from '../schema/index.ts';
import { causeOf } from './causes.ts';
import { type BuildEvent, type Effects, effectsOf } from './effects.ts';
import { findEvidence } from './evidence.ts';
import { type AttemptRow, BUILD_COLUMNS, type BuildRow, findAttempt, findBuild } from './rows.ts';
import { aftermathIsOver, decide, failureType } from './transitions.ts';

export type Applied = { ok: true; build: BuildRow; changed: boolean } | Refusal;

/**
 * The most races that one event may lose. After each it is decided again from the new row. Each lost race
 * means that another event won.
 */
const RACES_MAX = 4;

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

    const settled: BuildEvent = event.type === 'fail' ? { ...event, type: failureType(event.failure, build) } : event;
    const decision = decide(build, settled.type, 'attempt' in event ? event.attempt : null);
    if (!decision.ok) return decision;
    if (!decision.changes) {
      // An agent may repeat the report that ended an attempt, but not change it.
      const altered = event.type === 'succeed' || event.type === 'fail';
      return altered
        ? refusal('attempt_ended', `the build has ended: ${build.status}`)
        : { ok: true, build, changed: false };
    }
    const effects = effectsOf(build, current ?? null, settled, decision.to, now);
    const stored = effects.artifacts.length > 0 && current ? areStored(current, effects.artifacts) : undefined;
    try {
      const after = await commit(env, build, effects, and(guard, stored));
      if (after) return { ok: true, build: after, changed: true };
    } catch (error) {
      if (!isForeignKeyError(error)) throw error;
      return artifactNotStored;
    }
    if (stored && !(await holds(env, stored))) return artifactNotStored;
    if (guard) return refusal('illegal_transition', 'the build or its worker is no longer free for this');
  }
  throw new Error(`build ${buildId}: ${RACES_MAX} lost races in a row`);
}

const artifactNotStored = refusal(
  'artifact_not_stored',
  'artifacts: a file that the report names is not stored; upload it again',
);

/**
 * Whether the attempt has uploaded all of these files itself. An old agent uploads with the key of its
 * worker. A file that only somebody else has stored does not count, because the sender of a report would then
 * get its bytes as an artifact.
 */
const areStored = ({ buildId, attempt, workerId }: AttemptRow, files: Effects['artifacts']): SQL =>
  areHeldBy(
    [attemptHolder(buildId, attempt), workerId],
    files.flatMap(({ sha256, icon }) => (icon ? [sha256, icon] : [sha256])),
  );

const holds = async (env: Env, condition: SQL): Promise<boolean> =>
  (await openDatabase(env).get<{ holds: number }>(sql`SELECT ${condition} AS holds`)).holds === 1;

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
    .returning(BUILD_COLUMNS);
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
  if (effects.evidence) rest.push(insertIf(db, attemptEvidence, effects.evidence, applied));
  if (effects.artifacts.length > 0) rest.push(artifactsInsertion(db, effects.artifacts, applied));
  for (const work of effects.outbox) rest.push(insertIf(db, outbox, work, applied));
  if (effects.build.status === 'succeeded') {
    const asksForStore = sql`${applied} AND EXISTS (SELECT 1 FROM build_submits WHERE build_id = ${build.id})`;
    const work = { kind: 'submit_build', target: build.id, dueAt: effects.event.at } as const;
    rest.push(insertIf(db, submissionWork, work, asksForStore));
  }
  const [rows] = await db.batch([compareAndSet, ...rest]);
  return rows[0];
}

/** One statement for all artifacts, because a report may name 200 and D1 takes 50 statements a request. */
const artifactsInsertion = (db: Database, rows: (typeof artifacts.$inferInsert)[], condition: SQL) =>
  db.insert(artifacts).select(sql`
    SELECT value ->> 'buildId', value ->> 'attempt', value ->> 'name', value ->> 'sha256', value ->> 'size',
           value ->> 'createdAt', value ->> 'app', value ->> 'icon'
    FROM json_each(${JSON.stringify(rows)}) WHERE ${condition}`);

/**
 * Adds the agent's evidence to an ended attempt, with the cause that follows from it, and the total of its
 * log. Nothing else may be added. It works once, within the aftermath. An exact repetition is accepted and
 * writes nothing.
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
  const earlier = await findEvidence(env, buildId, attemptNumber);
  if (earlier) {
    const same = JSON.stringify(earlier) === JSON.stringify(evidence);
    return same
      ? { ok: true, build, changed: false }
      : refusal('attempt_ended', 'the attempt already has other evidence');
  }
  if (!isInAftermath(attempt.endedAt, now)) return aftermathIsOver(attemptNumber);
  const { verdict, verdictStep: step, verdictMessage: message } = attempt;
  const cause = verdict ? causeOf({ verdict, step, message }, evidence, build.timeouts) : null;
  const db = openDatabase(env);
  const here = and(eq(attempts.buildId, buildId), eq(attempts.attempt, attemptNumber));
  const first = sql`EXISTS (SELECT 1 FROM attempts WHERE ${and(here, isNotNull(attempts.endedAt), isNull(attempts.evidence))})
    AND NOT EXISTS (SELECT 1 FROM attempt_evidence WHERE build_id = ${buildId} AND attempt = ${attemptNumber})`;
  const total = log && attempt.logLength === null ? { logLength: log.length, logSha256: log.sha256 } : {};
  const row = { buildId, attempt: attemptNumber };
  // The evidence comes last, because its row makes the condition false.
  const [, , inserted] = await db.batch([
    insertIf(db, events, { ...row, type: 'evidence', at: now, detail: cause ? { cause } : {} }, first),
    db
      .update(attempts)
      .set({ cause, ...total })
      .where(and(here, first)),
    insertIf(db, attemptEvidence, { ...row, evidence }, first),
  ]);
  return { ok: true, build, changed: inserted.meta.changes > 0 };
}

/** True for an exact repetition of the report that ended this attempt. The stored outcome answers it. */
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

/** Holds in the rest of a batch if its first statement has written the row of the build. */
export const hasApplied = (buildId: string, transitionId: string): SQL =>
  sql`EXISTS (SELECT 1 FROM builds WHERE id = ${buildId} AND transition_id = ${transitionId})`;
