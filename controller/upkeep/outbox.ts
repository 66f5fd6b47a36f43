/**
 * Does the work that transitions and retention left in `outbox`: right after the transition if all is well,
 * else by the sweep.
 *
 * Invariant: every kind of work may be repeated, and its row is deleted only when the work is done.
 *
 * Owns the end of rows of `outbox` together with builds/marks.ts. Deletes R2 objects below `blobs/` whose row
 * was removed.
 */
import { waitUntil } from 'cloudflare:workers';
import { and, asc, eq, lte, sql } from 'drizzle-orm';
import { deleteSealedLog, sealLog } from '../build-log/seal.ts';
import { openDatabase } from '../database.ts';
import { outbox } from '../schema.ts';

type Work = typeof outbox.$inferSelect;

const BACKOFF_MAX_MS = 5 * 60_000;

/** How each kind of work is done. True when nothing is left to do. */
const DO: Record<Work['kind'], (env: Env, work: Work, now: number) => Promise<boolean>> = {
  close_deadline: async (env, { buildId, attempt }) => {
    await env.DEADLINES.getByName(buildId).close(attempt);
    return true;
  },
  seal_log: async (env, { buildId, attempt }, now) => (await sealLog(env, buildId, attempt, now)) === 'sealed',
  delete_log: (env, { buildId, attempt }) => deleteSealedLog(env, buildId, attempt),
  // The row of the object was removed and its R2 key is never used again, so nothing can refer to it later.
  delete_object: async (env, { r2Key }) => {
    if (r2Key) await env.BLOBS.delete(r2Key);
    return true;
  },
};

/**
 * Starts the work right after a transition, without keeping the caller waiting. The sweep repeats what fails.
 */
export function drainSoon(env: Env, buildId?: string): void {
  const drained = drainOutbox(env, Date.now(), { buildId });
  waitUntil(
    drained.catch((error: unknown) => {
      console.error(JSON.stringify({ event: 'outbox_failed', build: buildId, error: String(error) }));
    }),
  );
}

/** Does the work that is due, at most `limit` rows, of one build or of all. */
export async function drainOutbox(
  env: Env,
  now: number,
  { buildId, limit = 50 }: { buildId?: string | undefined; limit?: number } = {},
): Promise<void> {
  const db = openDatabase(env);
  const due = await db
    .select()
    .from(outbox)
    .where(and(lte(outbox.dueAt, now), buildId ? eq(outbox.buildId, buildId) : undefined))
    .orderBy(asc(outbox.dueAt))
    .limit(limit);
  for (const work of due) {
    const done = await DO[work.kind](env, work, now).catch((error: unknown) => {
      console.error(
        JSON.stringify({ event: 'outbox_failed', kind: work.kind, build: work.buildId, error: String(error) }),
      );
      return false;
    });
    if (done) await db.delete(outbox).where(eq(outbox.id, work.id));
    else {
      const dueAt = now + Math.min(BACKOFF_MAX_MS, 1_000 * 2 ** Math.min(work.tries, 20));
      await db
        .update(outbox)
        .set({ dueAt, tries: sql`${outbox.tries} + 1` })
        .where(eq(outbox.id, work.id));
    }
  }
}
