/**
 * What the cron does each minute, in bounded portions: expires old queued builds, finishes what the outbox still holds,
 * asks the active builds that it has not looked at for longest whether their alarm lives, and, once an hour, takes away what has been kept
 * long enough.
 */
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import { boundAudit } from '../access/audit.ts';
import { apply } from '../builds/apply.ts';
import { attempts, builds } from '../schema.ts';
import { drainOutbox } from './outbox.ts';
import { retain } from './retention.ts';

const PORTION = 50;
const CHECKED_PORTION = 20;

export async function sweep(env: Env, now: number): Promise<void> {
  // Each part on its own: one that fails must not keep the others from their work.
  for (const part of [expireQueued, drainOutbox, checkDeadlines, boundAudit, retain]) {
    await part(env, now).catch((error: unknown) => {
      console.error(JSON.stringify({ event: 'sweep_failed', part: part.name, error: String(error) }));
    });
  }
}

async function expireQueued(env: Env, now: number): Promise<void> {
  const expired = await drizzle(env.DB)
    .select({ id: builds.id })
    .from(builds)
    .where(
      and(
        eq(builds.status, 'queued'),
        sql`${builds.queuedAt} + json_extract(${builds.timeouts}, '$.queueTimeoutMs') <= ${now}`,
      ),
    )
    .limit(PORTION);
  for (const { id } of expired) await apply(env, id, { type: 'expire' }, now);
}

async function checkDeadlines(env: Env, now: number): Promise<void> {
  const db = drizzle(env.DB);
  const active = await db
    .select({ id: builds.id, attempt: builds.attempt, timeouts: builds.timeouts, claimedAt: attempts.claimedAt })
    .from(builds)
    .innerJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(inArray(builds.status, ['assigned', 'building']))
    .orderBy(asc(builds.checkedAt))
    .limit(CHECKED_PORTION);
  for (const { id, attempt, timeouts, claimedAt } of active) {
    const outcome = await env.DEADLINES.getByName(id).check(attempt, timeouts, claimedAt);
    if (outcome === 'repaired') console.warn(JSON.stringify({ event: 'deadline_repaired', build: id, attempt }));
    await db.update(builds).set({ checkedAt: now }).where(eq(builds.id, id));
  }
}
