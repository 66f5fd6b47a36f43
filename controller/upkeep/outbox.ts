/**
 * Does the work that transitions and retention left in `outbox`: right after the transition if all is well,
 * else by the sweep.
 *
 * Invariant: every kind of work may be repeated, and its row is deleted only when the work is done. A kind
 * that this release does not know stays for the release that has left it.
 *
 * Owns the end of rows of `outbox` together with builds/writes-without-event.ts. Deletes R2 objects below
 * `blobs/` whose row was removed.
 */
import { waitUntil } from 'cloudflare:workers';
import { and, asc, eq, lte, or, type SQL, sql } from 'drizzle-orm';
import { logObject } from '../build-log/build-log.ts';
import { deleteSealedLog, sealLog } from '../build-log/seal.ts';
import { cancelAll } from '../builds/end-many.ts';
import { openDatabase } from '../database.ts';
import { outbox } from '../schema/index.ts';
import { drainSubmissionWork } from './submission-work.ts';
import { isOneOf, tryOf } from './tries.ts';

type Work = typeof outbox.$inferSelect;

/** The most work right after a transition, because the request has used statements of its own. */
const WORKS_SOON = 30;
const SEALS_SOON = 4;
/** The most builds that are cancelled at once. Their number costs no statements. */
const CANCELS_MAX = 200;
/** Cancelling builds costs as many statements as sealing this many logs. */
const SEALS_FOR_CANCELS = 5;

/** How each kind of work is done. True when nothing is left to do. */
const DO: Record<Exclude<Work['kind'], 'cancel_build'>, (env: Env, work: Work, now: number) => Promise<boolean>> = {
  close_deadline: async (env, { buildId, attempt }) => {
    await env.DEADLINES.getByName(buildId).close(attempt);
    return true;
  },
  seal_log: async (env, { buildId, attempt }, now) => (await sealLog(env, buildId, attempt, now)) === 'sealed',
  // Deletes all that the attempt has stored outside of D1: its sealed log, and the data of its objects.
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
};

/**
 * Starts the work right after a transition, without keeping the caller waiting. The sweep repeats what fails.
 */
export function drainSoon(env: Env, buildId?: string): void {
  const drained = [
    drainOutbox(env, Date.now(), { buildId, limit: WORKS_SOON, seals: SEALS_SOON }),
    drainSubmissionWork(env, Date.now(), buildId),
  ];
  for (const one of drained)
    waitUntil(
      one.catch((error: unknown) => {
        console.error(JSON.stringify({ event: 'outbox_failed', build: buildId, error: String(error) }));
      }),
    );
}

/** The most work that is done at once. Its end is stored then, so that a run that is cut off gets further. */
const AT_ONCE = 10;

interface Limits {
  /** Only the work of this build, and the cancellations that it has caused. */
  buildId?: string | undefined;
  limit?: number;
  /** How many logs are sealed at most. Each asks D1 twice. */
  seals?: number;
}

/** Work that is due within this time would wait for the next sweep. */
const SOON_MS = 60_000;

/**
 * Does the work that is due, at most `limit` rows, of one build or of all. For one build it also does work
 * that is due soon: work that failed a moment ago may succeed now, because the build has changed.
 */
export async function drainOutbox(
  env: Env,
  now: number,
  { buildId, limit = 50, seals = 10 }: Limits = {},
): Promise<void> {
  const read = (these: SQL | undefined) =>
    openDatabase(env)
      .select()
      .from(outbox)
      .where(and(lte(outbox.dueAt, buildId ? now + SOON_MS : now), these))
      .orderBy(asc(outbox.dueAt))
      .limit(Math.max(limit, CANCELS_MAX));
  let due = await read(buildId ? or(eq(outbox.buildId, buildId), eq(outbox.supersededBy, buildId)) : undefined);
  const cancels = due.filter(({ kind }) => kind === 'cancel_build');
  if (cancels.length > 0) {
    const ended = await cancelBuilds(env, cancels, now);
    // These cancellations have added work of their own, by which the agents hear of them.
    due = await read(buildId ? isOf([buildId, ...ended]) : undefined);
  }
  const sealed = cancels.length > 0 ? Math.max(0, seals - SEALS_FOR_CANCELS) : seals;
  const later = new Set(due.filter(({ kind }) => kind === 'seal_log').slice(sealed));
  const todo = due.filter((work) => work.kind !== 'cancel_build' && !later.has(work)).slice(0, limit);
  for (let at = 0; at < todo.length; at += AT_ONCE) await doSome(env, todo.slice(at, at + AT_ONCE), now);
}

/**
 * Cancels builds all at once, because one by one they would cost more statements than D1 takes. Answers those
 * that have ended.
 */
async function cancelBuilds(env: Env, works: Work[], now: number): Promise<Set<string>> {
  await noteTry(env, works, now);
  try {
    const ended = await cancelAll(env, works, now);
    const done = works.filter(({ buildId }) => ended.has(buildId));
    if (done.length > 0) await openDatabase(env).delete(outbox).where(among(done));
    return ended;
  } catch (error) {
    console.error(JSON.stringify({ event: 'outbox_failed', kind: 'cancel_build', error: String(error) }));
    return new Set();
  }
}

async function noteTry(env: Env, works: Work[], now: number): Promise<void> {
  await openDatabase(env).update(outbox).set(tryOf(outbox.tries, now)).where(among(works));
}

async function doSome(env: Env, works: Work[], now: number): Promise<void> {
  await noteTry(env, works, now);
  const outcomes = await Promise.all(
    works.map((work) =>
      doOne(env, work, now).catch((error: unknown) => {
        const { kind, buildId } = work;
        console.error(JSON.stringify({ event: 'outbox_failed', kind, build: buildId, error: String(error) }));
        return false;
      }),
    ),
  );
  const done = works.filter((_, index) => outcomes[index]);
  if (done.length > 0) await openDatabase(env).delete(outbox).where(among(done));
}

async function doOne(env: Env, work: Work, now: number): Promise<boolean> {
  const known: Partial<typeof DO> = DO;
  return (await known[work.kind as keyof typeof DO]?.(env, work, now)) ?? false;
}

const isOf = (buildIds: string[]) =>
  sql`${outbox.buildId} IN (SELECT value FROM json_each(${JSON.stringify(buildIds)}))`;

const among = (works: Work[]): SQL =>
  isOneOf(
    outbox.id,
    works.map(({ id }) => id),
  );
