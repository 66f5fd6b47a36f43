/**
 * Ends any number of builds by the same few statements: builds that no worker took in time, builds that
 * others supersede, and builds whose key was revoked.
 *
 * Invariant: each build gets the same rows that apply.ts would write. Each end is a compare-and-set of its
 * own, so a build that has changed meanwhile is left as it is.
 *
 * Owns `builds`, `attempts` and `events` together with apply.ts, and adds rows to `outbox`.
 */
import { and, eq, inArray, isNull, type SQL, sql } from 'drizzle-orm';
import { toBytes } from '../bytes.ts';
import { openDatabase } from '../database.ts';
import { attempts, builds, events, outbox } from '../schema/index.ts';
import { type BuildEvent, effectsOf } from './effects.ts';
import { ATTEMPT_COLUMNS, type AttemptRow, BUILD_COLUMNS, type BuildRow } from './rows.ts';
import { decide, UNFINISHED_STATUSES } from './transitions.ts';

/** A build with its current attempt, null before the first claim. */
interface Tried {
  build: BuildRow;
  current: AttemptRow | null;
}

/**
 * Ends queued builds that no worker took in time, in one batch, as many as fit into it. A build that has
 * changed meanwhile is left as it is.
 */
export async function expireAll(env: Env, queued: Tried[], now: number): Promise<void> {
  const ends = queued.flatMap(({ build, current }) => endOf(build, current, { type: 'expire' }, now));
  const { batch } = endingOf(env, ends);
  await openDatabase(env).batch(batch);
}

/**
 * Cancels any number of builds by the same few statements. Answers which of them have ended. The others have
 * changed meanwhile, or did not fit into the batch; the caller asks again.
 */
export async function cancelAll(
  env: Env,
  cancels: { buildId: string; supersededBy: string | null }[],
  now: number,
): Promise<Set<string>> {
  const by = new Map(cancels.map(({ buildId, supersededBy }) => [buildId, supersededBy]));
  const db = openDatabase(env);
  const these = sql`${builds.id} IN (SELECT value FROM json_each(${JSON.stringify([...by.keys()])}))`;
  const found = await db
    .select({
      ...{ build: BUILD_COLUMNS, current: ATTEMPT_COLUMNS },
      keyIsRevoked: sql<number>`EXISTS (
        SELECT 1 FROM keys WHERE keys.id = ${builds.createdByKey} AND keys.revoked_at IS NOT NULL)`,
    })
    .from(builds)
    .leftJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(and(these, isUnfinished));
  const ends = found.flatMap(({ build, current, keyIsRevoked }) => {
    const supersededBy = by.get(build.id) ?? undefined;
    const why = supersededBy ? { supersededBy } : keyIsRevoked ? { message: KEY_REVOKED } : {};
    return endOf(build, current, { type: 'cancel', ...why }, now);
  });
  const { batch, attemptsEnd } = endingOf(env, ends);
  await db.batch([...batch, ...attemptsEnd]);
  const left = await db.select({ id: builds.id }).from(builds).where(and(these, isUnfinished));
  const isLeft = new Set(left.map(({ id }) => id));
  return new Set([...by.keys()].filter((id) => !isLeft.has(id)));
}

/** The message of a build that ends because of its key. */
const KEY_REVOKED = 'the key that requested the build was revoked';

const isUnfinished = inArray(builds.status, [...UNFINISHED_STATUSES]);

/** As many of the first texts as D1 takes in one value. */
function fitting(texts: readonly string[]): string[] {
  let bytes = 0;
  return texts.filter((text) => (bytes += toBytes(text).byteLength + 1) <= ENDS_MAX_BYTES);
}

/** D1 takes 2 MB in one value. */
const ENDS_MAX_BYTES = 1_900_000;

/** The changes of `event`, which ends a build. Empty if the build has ended. */
function endOf(build: BuildRow, current: AttemptRow | null, event: BuildEvent, now: number) {
  const decision = decide(build, event.type, null);
  if (!decision.ok || !decision.changes) return [];
  const effects = effectsOf(build, current, event, decision.to, now);
  const was = { id: build.id, attempt: build.attempt, was: build.status };
  return [{ ...was, build: effects.build, event: effects.event, attempts: effects.attempt, outbox: effects.outbox }];
}

/**
 * The statements that write many ends, each by its own compare-and-set. `attemptsEnd` is for those that end
 * an attempt, too.
 */
function endingOf(env: Env, ends: ReturnType<typeof endOf>) {
  const db = openDatabase(env);
  const json = `[${fitting(ends.map((end) => JSON.stringify(end))).join(',')}]`;
  const transitionId = crypto.randomUUID();
  const each = (path: string): SQL<never> => sql.raw(`ends.value ->> '$.${path}'`) as SQL<never>;
  const allEnds = sql`json_each(${json}) AS ends`;
  const hasEnded = sql`EXISTS (SELECT 1 FROM builds WHERE id = ${each('id')} AND transition_id = ${transitionId})`;
  const batch = [
    db
      .update(builds)
      .set({
        status: each('build.status'),
        verdict: each('build.verdict'),
        verdictStep: each('build.verdictStep'),
        verdictMessage: each('build.verdictMessage'),
        endedAt: each('build.endedAt'),
        supersededBy: each('build.supersededBy'),
        transitionId,
      })
      .from(allEnds)
      .where(and(eq(builds.id, each('id')), eq(builds.attempt, each('attempt')), eq(builds.status, each('was')))),
    db.insert(events).select(sql`
      SELECT NULL, ${each('event.buildId')}, ${each('event.attempt')}, ${each('event.type')}, ${each('event.at')},
             ${each('event.detail')}
      FROM ${allEnds} WHERE ${hasEnded}`),
  ] as const;
  const attemptsEnd = [
    db
      .update(attempts)
      .set({ verdict: each('attempts.verdict'), endedAt: each('attempts.endedAt') })
      .from(allEnds)
      .where(
        and(
          sql`${each('attempts')} IS NOT NULL`,
          eq(attempts.buildId, each('id')),
          eq(attempts.attempt, each('attempt')),
          isNull(attempts.endedAt),
          hasEnded,
        ),
      ),
    db.insert(outbox).select(sql`
      SELECT NULL, work.value ->> 'kind', work.value ->> 'buildId', work.value ->> 'attempt', NULL, NULL, NULL,
             work.value ->> 'dueAt', 0
      FROM ${allEnds}, json_each(ends.value, '$.outbox') AS work WHERE ${hasEnded}`),
  ] as const;
  return { batch, attemptsEnd };
}

/**
 * Cancels all unfinished builds of these keys in one batch. A queued one ends now, so that no worker takes
 * it. An active one is left to the outbox. Answers the ids of both.
 */
export async function cancelBuildsOf(env: Env, keyIds: readonly string[], now: number): Promise<string[]> {
  const db = openDatabase(env);
  const transitionId = crypto.randomUUID();
  // The plus keeps SQLite from the index by key, which has all builds that the keys ever made.
  const ofKeys = sql`+${builds.createdByKey} IN (SELECT value FROM json_each(${JSON.stringify(keyIds)}))`;
  const verdict = 'cancelled';
  const verdictMessage = KEY_REVOKED;
  const [ended, , active] = await db.batch([
    db
      .update(builds)
      .set({ status: 'cancelled', verdict, verdictStep: null, verdictMessage, endedAt: now, transitionId })
      .where(and(eq(builds.status, 'queued'), ofKeys))
      .returning({ id: builds.id }),
    db.insert(events).select(sql`
      SELECT NULL, id, attempt, 'cancel', ${now}, ${JSON.stringify({ verdict, message: verdictMessage })}
      FROM builds WHERE status = 'cancelled' AND ended_at = ${now} AND transition_id = ${transitionId}`),
    db
      .select({ id: builds.id })
      .from(builds)
      .where(and(inArray(builds.status, ['assigned', 'building']), ofKeys)),
    db.insert(outbox).select(sql`
      SELECT NULL, 'cancel_build', id, attempt, NULL, NULL, project_id, ${now}, 0
      FROM builds WHERE status IN ('assigned', 'building') AND ${ofKeys}
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE kind = 'cancel_build' AND outbox.build_id = builds.id)`),
  ]);
  return [...ended, ...active].map(({ id }) => id);
}
