/**
 * Does what the cron calls for each minute, in bounded portions. It finds the projects of builds that the
 * former release has added, expires builds that were queued too long, does the work that is left in the
 * outbox, and repairs lost alarms of active builds, those first that it checked longest ago, and of
 * submissions. It bounds the audit, and seals anew what older keys have sealed. One minute of each hour
 * belongs to retention alone. In another one it counts the load of the projects and looks for builds that
 * should have been submitted, and leaves audit and seals for the next.
 *
 * Invariant: one run sends at most 50 statements to D1, which is what the free plan takes.
 */

import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { boundAudit } from '../access/audit.ts';
import { apply } from '../builds/apply.ts';
import { expireAll } from '../builds/end-many.ts';
import { ATTEMPT_COLUMNS, BUILD_COLUMNS } from '../builds/rows.ts';
import { markDeadlinesChecked } from '../builds/writes-without-event.ts';
import { openDatabase } from '../database.ts';
import { recountLoad } from '../queue/load.ts';
import { attempts, builds } from '../schema/index.ts';
import { giveUp, leaveMissedSubmissions, someUnfinished } from '../submissions/many.ts';
import { drainOutbox } from './outbox.ts';
import { reseal } from './reseal.ts';
import { MINUTE_OF_RETENTION, retain } from './retention.ts';
import { findProjectsOfBuilds, rankBuildsThatCameBack } from './rows-of-former-release.ts';
import { drainSubmissionWork } from './submission-work.ts';

/** Three statements a portion. `expireAll` ends as many of it as D1 takes at once. */
const EXPIRED_PORTION = 200;
const EXPIRED_PORTIONS = 3;
/** If a portion fails, this many of its builds are tried one by one. */
const EXPIRED_SINGLY = 3;
const CHECKED_PORTION = 20;
/** An object that has not ended its submission by then never will. Three statements each. */
const GIVEN_UP_AFTER_MS = 60 * 60_000;
const GIVEN_UP_PORTION = 2;

/**
 * Reads all unfinished builds, and those that ended within a week. So it is done once an hour, at this
 * minute.
 */
const MINUTE_OF_RECOUNT = 47;

/** @param minute of the hour, which says what this run does */
export async function sweep(env: Env, now: number, minute: number = minuteOf(now)): Promise<void> {
  const parts =
    minute === MINUTE_OF_RETENTION
      ? [rankBuildsThatCameBack, retain]
      : [
          ...[findProjectsOfBuilds, expireQueued, drainOutbox, checkDeadlines, drainSubmissionWork, checkSubmissions],
          ...(minute === MINUTE_OF_RECOUNT ? [recount, leaveMissedSubmissions] : [boundAudit, reseal]),
        ];
  // Each part is on its own, so that one that fails does not stop the others.
  for (const part of parts) {
    await part(env, now).catch((error: unknown) => {
      console.error(JSON.stringify({ event: 'sweep_failed', part: part.name, error: String(error) }));
    });
  }
}

const minuteOf = (now: number): number => Math.floor(now / 60_000) % 60;

/** A row that had to be mended is a fault of the triggers, so it is logged. */
async function recount(env: Env): Promise<void> {
  const mended = await recountLoad(env);
  if (mended > 0) console.error(JSON.stringify({ event: 'load_mended', rows: mended }));
}

async function expireQueued(env: Env, now: number): Promise<void> {
  for (let portion = 0; portion < EXPIRED_PORTIONS; portion++) {
    const expired = await openDatabase(env)
      .select({ build: BUILD_COLUMNS, current: ATTEMPT_COLUMNS })
      .from(builds)
      .leftJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
      .where(
        and(
          eq(builds.status, 'queued'),
          // Before `notBefore` no worker may take the build, so it does not queue yet.
          sql`max(${builds.queuedAt}, ${builds.notBefore}) + json_extract(${builds.timeouts}, '$.queueTimeoutMs') <= ${now}`,
        ),
      )
      .limit(EXPIRED_PORTION);
    if (expired.length === 0) return;
    try {
      await expireAll(env, expired, now);
    } catch (error) {
      console.error(JSON.stringify({ event: 'sweep_failed', part: 'expireAll', error: String(error) }));
      // One build may be to blame. The random order keeps it from being tried first each time.
      const some = expired.map(({ build }) => build).sort(() => Math.random() - 0.5);
      return each('expire', some.slice(0, EXPIRED_SINGLY), ({ id }) => apply(env, id, { type: 'expire' }, now));
    }
    if (expired.length < EXPIRED_PORTION) return;
  }
}

async function checkDeadlines(env: Env, now: number): Promise<void> {
  const active = await openDatabase(env)
    .select({ id: builds.id, attempt: builds.attempt, timeouts: builds.timeouts, claimedAt: attempts.claimedAt })
    .from(builds)
    .innerJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, builds.attempt)))
    .where(inArray(builds.status, ['assigned', 'building']))
    .orderBy(asc(builds.checkedAt))
    .limit(CHECKED_PORTION);
  // Marked first, so that objects that throw are not asked first each time.
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

async function checkSubmissions(env: Env, now: number): Promise<void> {
  const unfinished = await someUnfinished(env, now, CHECKED_PORTION);
  await each('submission check', unfinished, async ({ id }) => {
    const outcome = await env.STORE_UPLOADS.getByName(id).check();
    if (outcome === 'repaired') console.warn(JSON.stringify({ event: 'submission_repaired', submission: id }));
  });
  const overdue = unfinished.filter(({ endsBy }) => endsBy + GIVEN_UP_AFTER_MS < now);
  await each('submission end', overdue.slice(0, GIVEN_UP_PORTION), (one) => giveUp(env, one, now));
}

/** Does `work` for all rows at once. One that fails is logged and does not stop the others. */
async function each<T extends { id: string }>(part: string, rows: T[], work: (row: T) => Promise<unknown>) {
  const tried = await Promise.allSettled(rows.map(work));
  for (const [index, outcome] of tried.entries())
    if (outcome.status === 'rejected')
      console.error(
        JSON.stringify({ event: 'sweep_failed', part, id: rows[index]!.id, error: String(outcome.reason) }),
      );
}
