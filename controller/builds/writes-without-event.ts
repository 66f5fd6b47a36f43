/**
 * Writes small marks on `builds`, `attempts` and `outbox` that change no status and need no event.
 *
 * Owns, beside apply.ts: `builds.checked_at`, the app and the number of a build once an attempt asks, in
 * `attempts` the place of a sealed log, the stored secrets that were fetched and until when a VM is kept, and
 * the removal of rows of `outbox` whose work somebody else has done.
 */
import { and, eq, inArray, isNull, type SQL, sql } from 'drizzle-orm';
import type { BatchItem } from 'drizzle-orm/batch';
import { type Database, openDatabase } from '../database.ts';
import { attempts, builds, outbox } from '../schema/index.ts';
import { hasApplied } from './apply.ts';
import { BUILD_COLUMNS, type BuildRow } from './rows.ts';
import { ACTIVE_STATUSES } from './transitions.ts';

/** Removes the row of work that somebody has done before the outbox came to it. */
export async function finishOutbox(
  env: Env,
  kind: (typeof outbox.$inferSelect)['kind'],
  buildId: string,
  attempt: number,
): Promise<void> {
  await openDatabase(env)
    .delete(outbox)
    .where(and(eq(outbox.kind, kind), eq(outbox.buildId, buildId), eq(outbox.attempt, attempt)));
}

/** From here on readers find the log of the attempt in R2. Only the first call writes. */
export async function markLogSealed(
  env: Env,
  buildId: string,
  attempt: number,
  { prefix, length, complete }: { prefix: string; length: number; complete: boolean },
): Promise<void> {
  await openDatabase(env)
    .update(attempts)
    .set({ logR2Key: prefix, logSealedLength: length, logComplete: complete })
    .where(and(eq(attempts.buildId, buildId), eq(attempts.attempt, attempt), isNull(attempts.logR2Key)));
}

/**
 * Notes that the sweep has checked the deadlines of these builds. The sweep next checks those that it checked
 * longest ago.
 */
export async function markDeadlinesChecked(env: Env, buildIds: string[], now: number): Promise<void> {
  await openDatabase(env)
    .update(builds)
    .set({ checkedAt: now })
    .where(sql`${builds.id} IN (SELECT value FROM json_each(${JSON.stringify(buildIds)}))`);
}

/** Notes until when an agent keeps the VM of an attempt. Null: it does not, or no longer. */
export async function noteKept(env: Env, buildId: string, attempt: number, keptUntil: number | null): Promise<void> {
  await openDatabase(env)
    .update(attempts)
    .set({ keptUntil })
    .where(and(eq(attempts.buildId, buildId), eq(attempts.attempt, attempt)));
}

/** Notes which stored secrets an attempt receives, together with the `usage` that their owner notes. */
export async function noteSecrets(
  env: Env,
  buildId: string,
  attempt: number,
  secrets: [id: string, version: number][],
  usage: BatchItem<'sqlite'>,
): Promise<void> {
  const db = openDatabase(env);
  await db.batch([
    db
      .update(attempts)
      .set({ secrets })
      .where(and(eq(attempts.buildId, buildId), eq(attempts.attempt, attempt))),
    usage,
  ]);
}

/**
 * Stores the number of a build, if it has none yet and its attempt still runs. Answers the row as written.
 *
 * @param number the number, as an expression that the statement computes
 * @param may further conditions, which the statement checks itself
 * @param moving the statements that belong into the same batch, if `applied` holds there
 */
export async function giveNumber(
  env: Env,
  { id, attempt }: BuildRow,
  app: Pick<BuildRow, 'appId' | 'appVersion' | 'appBuildNumber'>,
  number: SQL<number>,
  may: SQL,
  moving: (db: Database, applied: SQL) => BatchItem<'sqlite'>[],
): Promise<BuildRow | undefined> {
  const db = openDatabase(env);
  const transitionId = crypto.randomUUID();
  const runs = and(eq(builds.id, id), eq(builds.attempt, attempt), inArray(builds.status, [...ACTIVE_STATUSES]));
  const given = db
    .update(builds)
    .set({ ...app, buildNumber: number, transitionId })
    .where(and(runs, isNull(builds.buildNumber), may))
    .returning(BUILD_COLUMNS);
  const [rows] = await db.batch([given, ...moving(db, hasApplied(id, transitionId))]);
  return rows[0];
}
