/**
 * Does what the cron calls for each minute, in bounded portions. It expires builds that were queued too long,
 * does the work that is left in the outbox, and repairs lost alarms of active builds, those first that it
 * checked longest ago. Once an hour retention removes what has been kept long enough.
 */
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { boundAudit } from '../access/audit.ts';
import { apply } from '../builds/apply.ts';
import { markDeadlineChecked } from '../builds/marks.ts';
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
  for (const { id } of expired) await apply(env, id, { type: 'expire' }, now);
}

async function checkDeadlines(env: Env, now: number): Promise<void> {
  const active = await openDatabase(env)
    .select({ id: builds.id, attempt: builds.attempt, timeouts: builds.timeouts, claimedAt: attempts.claimedAt })
    .from(builds)
    .innerJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(inArray(builds.status, ['assigned', 'building']))
    .orderBy(asc(builds.checkedAt))
    .limit(CHECKED_PORTION);
  for (const { id, attempt, timeouts, claimedAt } of active) {
    const outcome = await env.DEADLINES.getByName(id).check(attempt, timeouts, claimedAt);
    if (outcome === 'repaired') console.warn(JSON.stringify({ event: 'deadline_repaired', build: id, attempt }));
    await markDeadlineChecked(env, id, now);
  }
}
