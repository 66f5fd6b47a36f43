/**
 * Does what the cron calls for each minute, in bounded portions. It expires builds that were queued too long,
 * does the work that is left in the outbox, and repairs lost alarms of active builds, those first that it
 * checked longest ago. Once an hour retention removes what has been kept long enough.
 */
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { boundAudit } from '../access/audit.ts';
import { apply } from '../builds/apply.ts';
import { markDeadlinesChecked } from '../builds/marks.ts';
import { openDatabase } from '../database.ts';
import { attempts, builds } from '../schema.ts';
import { drainOutbox } from './outbox.ts';
import { retain } from './retention.ts';

const PORTION = 50;
const CHECKED_PORTION = 20;

export async function sweep(env: Env, now: number): Promise<void> {
  // Each part is on its own, so that one that fails does not stop the others.
  for (const part of [expireQueued, drainOutbox, checkDeadlines, boundAudit, retain]) {
    await part(env, now).catch((error: unknown) => {
      console.error(JSON.stringify({ event: 'sweep_failed', part: part.name, error: String(error) }));
    });
  }
}

async function expireQueued(env: Env, now: number): Promise<void> {
  const expired = await openDatabase(env)
    .select({ id: builds.id })
    .from(builds)
    .where(
      and(
        eq(builds.status, 'queued'),
        // Before `notBefore` no worker may take the build, so it does not queue yet.
        sql`max(${builds.queuedAt}, ${builds.notBefore}) + json_extract(${builds.timeouts}, '$.queueTimeoutMs') <= ${now}`,
      ),
    )
    .limit(PORTION);
  await each('expire', expired, ({ id }) => apply(env, id, { type: 'expire' }, now));
}

async function checkDeadlines(env: Env, now: number): Promise<void> {
  const active = await openDatabase(env)
    .select({ id: builds.id, attempt: builds.attempt, timeouts: builds.timeouts, claimedAt: attempts.claimedAt })
    .from(builds)
    .innerJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(inArray(builds.status, ['assigned', 'building']))
    .orderBy(asc(builds.checkedAt))
    .limit(CHECKED_PORTION);
  // Marked first, so that objects that throw are not the first to be asked for ever.
  await markDeadlinesChecked(
    env,
    active.map(({ id }) => id),
    now,
  );
  await each('deadline check', active, async ({ id, attempt, timeouts, claimedAt }) => {
    const outcome = await env.DEADLINES.getByName(id).check(attempt, timeouts, claimedAt);
    if (outcome === 'repaired') console.warn(JSON.stringify({ event: 'deadline_repaired', build: id, attempt }));
  });
}

/** Does `work` for all builds at once. One that fails is logged and does not stop the others. */
async function each<T extends { id: string }>(part: string, rows: T[], work: (row: T) => Promise<unknown>) {
  const tried = await Promise.allSettled(rows.map(work));
  for (const [index, outcome] of tried.entries())
    if (outcome.status === 'rejected')
      console.error(
        JSON.stringify({ event: 'sweep_failed', part, build: rows[index]!.id, error: String(outcome.reason) }),
      );
}
