/**
 * Writes small marks on `builds`, `attempts` and `outbox` that change no status and need no event.
 *
 * Owns, beside apply.ts: `builds.checked_at`, in `attempts` the place of a sealed log and the stored secrets
 * that were fetched, and the removal of rows of `outbox` whose work somebody else has done.
 */
import { and, eq, isNull, sql } from 'drizzle-orm';
import type { BatchItem } from 'drizzle-orm/batch';
import { openDatabase } from '../database.ts';
import { attempts, builds, outbox } from '../schema/index.ts';

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
 * The sweep has asked whether the deadlines of these builds are alive. It asks those next that it asked
 * longest ago.
 */
export async function markDeadlinesChecked(env: Env, buildIds: string[], now: number): Promise<void> {
  await openDatabase(env)
    .update(builds)
    .set({ checkedAt: now })
    .where(sql`${builds.id} IN (SELECT value FROM json_each(${JSON.stringify(buildIds)}))`);
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
