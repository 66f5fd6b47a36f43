/**
 * Does what transitions left to be done elsewhere. Each kind of work is repeatable, and its row goes only when it is
 * done: right after the transition if all is well, else by the sweep.
 */
import { waitUntil } from 'cloudflare:workers';
import { and, asc, eq, lte, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import { deleteSealedLog, sealLog } from '../build-log/read.ts';
import { outbox } from '../schema.ts';

type Work = typeof outbox.$inferSelect;

const BACKOFF_MAX_MS = 5 * 60_000;

/** True when there is nothing left to do. */
const DO: Record<Work['kind'], (env: Env, work: Work, now: number) => Promise<boolean>> = {
  close_deadline: async (env, { buildId, attempt }) => {
    await env.DEADLINES.getByName(buildId).close(attempt);
    return true;
  },
  seal_log: async (env, { buildId, attempt }, now) => (await sealLog(env, buildId, attempt, now)) === 'sealed',
  delete_log: (env, { buildId, attempt }) => deleteSealedLog(env, buildId, attempt),
  // Its row is gone, and the key is never used again: nothing can come to refer to it.
  delete_object: async (env, { r2Key }) => {
    if (r2Key) await env.BLOBS.delete(r2Key);
    return true;
  },
};

/** Right after a transition, without keeping its caller waiting. What fails is left to the sweep. */
export function drainSoon(env: Env, buildId?: string): void {
  const drained = drainOutbox(env, Date.now(), { buildId });
  waitUntil(
    drained.catch((error: unknown) => {
      console.error(JSON.stringify({ event: 'outbox_failed', build: buildId, error: String(error) }));
    }),
  );
}

/** Works off what is due, at most `limit` rows; of one build, or of all. */
export async function drainOutbox(
  env: Env,
  now: number,
  { buildId, limit = 50 }: { buildId?: string | undefined; limit?: number } = {},
): Promise<void> {
  const db = drizzle(env.DB);
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
