/**
 * Does the work that transitions and retention left in `outbox`: right after the transition if all is well,
 * else by the sweep.
 *
 * Invariant: every kind of work may be repeated, and its row is deleted only when the work is done.
 *
 * Owns the end of rows of `outbox` together with builds/writes-without-event.ts. Deletes R2 objects below
 * `blobs/` whose row was removed.
 */
import { waitUntil } from 'cloudflare:workers';
import { and, asc, eq, lte, sql } from 'drizzle-orm';
import { logObject } from '../build-log/build-log.ts';
import { deleteSealedLog, sealLog } from '../build-log/seal.ts';
import { apply } from '../builds/apply.ts';
import { openDatabase } from '../database.ts';
import { outbox } from '../schema/index.ts';

type Work = typeof outbox.$inferSelect;

const BACKOFF_MAX_MS = 5 * 60_000;
/** Logs that are sealed right after a transition, because the request has used statements of its own. */
const SEALS_SOON = 4;

/** How each kind of work is done. True when nothing is left to do. */
const DO: Record<Work['kind'], (env: Env, work: Work, now: number) => Promise<boolean>> = {
  close_deadline: async (env, { buildId, attempt }) => {
    await env.DEADLINES.getByName(buildId).close(attempt);
    return true;
  },
  seal_log: async (env, { buildId, attempt }, now) => (await sealLog(env, buildId, attempt, now)) === 'sealed',
  // All that the attempt has stored outside of D1: its sealed log, and what its objects keep.
  delete_log: async (env, { buildId, attempt }) => {
    if (!(await deleteSealedLog(env, buildId, attempt))) return false;
    await logObject(env, buildId, attempt).forget();
    return env.DEADLINES.getByName(buildId).forget();
  },
  // The row of the object was removed and its R2 key is never used again, so nothing can refer to it later.
  delete_object: async (env, { r2Key }) => {
    if (r2Key) await env.BLOBS.delete(r2Key);
    return true;
  },
  cancel_build: async (env, { buildId, supersededBy }, now) => {
    await apply(env, buildId, { type: 'cancel', ...(supersededBy !== null && { supersededBy }) }, now);
    return true;
  },
};

/**
 * Starts the work right after a transition, without keeping the caller waiting. The sweep repeats what fails.
 */
export function drainSoon(env: Env, buildId?: string): void {
  const drained = drainOutbox(env, Date.now(), { buildId, seals: SEALS_SOON });
  waitUntil(
    drained.catch((error: unknown) => {
      console.error(JSON.stringify({ event: 'outbox_failed', build: buildId, error: String(error) }));
    }),
  );
}

/** So much work is done at once. Then it is noted, so that a run that is cut off gets further. */
const AT_ONCE = 10;

interface Limits {
  buildId?: string | undefined;
  limit?: number;
  /** How many logs are sealed, because that asks D1 twice for each. */
  seals?: number;
}

/** Does the work that is due, at most `limit` rows, of one build or of all. */
export async function drainOutbox(
  env: Env,
  now: number,
  { buildId, limit = 50, seals = 10 }: Limits = {},
): Promise<void> {
  const due = await openDatabase(env)
    .select()
    .from(outbox)
    .where(and(lte(outbox.dueAt, now), buildId ? eq(outbox.buildId, buildId) : undefined))
    .orderBy(asc(outbox.dueAt))
    .limit(limit);
  const later = new Set(due.filter(({ kind }) => kind === 'seal_log').slice(seals));
  const todo = due.filter((work) => !later.has(work));
  for (let at = 0; at < todo.length; at += AT_ONCE) await doSome(env, todo.slice(at, at + AT_ONCE), now);
}

/**
 * The try is noted first. So a work that stops the process each time does not keep the others from theirs.
 */
async function doSome(env: Env, works: Work[], now: number): Promise<void> {
  const db = openDatabase(env);
  const pauseMs = sql`min(${BACKOFF_MAX_MS}, 1000 << min(${outbox.tries}, 20))`;
  await db
    .update(outbox)
    .set({ dueAt: sql`${now} + ${pauseMs}`, tries: sql`${outbox.tries} + 1` })
    .where(among(works));
  const outcomes = await Promise.all(
    works.map((work) =>
      DO[work.kind](env, work, now).catch((error: unknown) => {
        const { kind, buildId } = work;
        console.error(JSON.stringify({ event: 'outbox_failed', kind, build: buildId, error: String(error) }));
        return false;
      }),
    ),
  );
  const done = works.filter((_, index) => outcomes[index]);
  if (done.length > 0) await db.delete(outbox).where(among(done));
}

const among = (works: Work[]) =>
  sql`${outbox.id} IN (SELECT value FROM json_each(${JSON.stringify(works.map(({ id }) => id))}))`;
