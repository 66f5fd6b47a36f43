/**
 * Lets a year pass in a moment: each day brings builds, the cron runs each hour, and at the end the tables
 * hold what the days of retention say. The usual run is a small sample; `DAYS_OF_RETENTION=365` lets a whole
 * year pass, with the days that are deployed.
 */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { DEFAULT_TIMEOUTS } from '#contract';
import type { RetentionDays } from '../../../controller/files/retention-days.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { retain } from '../../../controller/upkeep/retention.ts';
import { wrongLoads } from '../../../local/chaos/wrong-loads.ts';
import { begin, STATEMENTS_MAX, withPlatformLimits } from '../factories/platform-limits.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const DAYS = Number(env.DAYS_OF_RETENTION);
const KEPT: RetentionDays =
  DAYS < 365 ? { logs: 3, artifacts: 2, sources: 1, builds: 4 } : { logs: 30, artifacts: 14, sources: 3, builds: 180 };
/** A tenth of 500 builds a day, and a tenth of the portions. */
const SHARE = 0.1;
const BUILDS_A_DAY = 500 * SHARE;
const ARTIFACTS = 3;
const EVENTS = 5;
const START = Date.parse('2026-01-01T00:00:00Z');

const sql = (text: string, ...values: unknown[]) => env.DB.prepare(text).bind(...values);
const NUMBERS = 'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)';

/** The builds of a day, one each half hour or so, each with all that a build may leave in the tables. */
async function aDay(day: number): Promise<void> {
  const from = START + day * DAY_MS;
  const at = `(${from} + n.i * ${Math.floor(DAY_MS / (BUILDS_A_DAY + 1))})`;
  const id = `'b${day}-' || n.i`;
  const today = `SELECT id, ended_at FROM builds WHERE created_at >= ${from} AND created_at < ${from + DAY_MS}`;
  const perBuild = (insert: string, select: string, count = 1) =>
    sql(`${insert} ${NUMBERS} SELECT ${select} FROM (${today}) AS b, n`, count);
  await env.DB.batch([
    sql(
      `INSERT INTO blobs (sha256, r2_key, size, created_at, touched_at) ${NUMBERS} SELECT ${id}, ${id}, 1, ${at}, ${at} FROM n`,
      BUILDS_A_DAY,
    ),
    sql(
      `INSERT INTO builds (id, status, attempt, transition_id, max_attempts, platform, command, source_sha256, source_blob,
         has_inputs, artifact_globs, timeouts, pool, labels, priority, queue_rank, queued_at, created_at, ended_at)
       ${NUMBERS} SELECT ${id}, 'succeeded', 1, 't', 1, 'ios', 'make', ${id}, ${id}, 1, '[]', ?2, 'default', '{}', 0, 0,
         ${at}, ${at}, ${at} FROM n`,
      BUILDS_A_DAY,
      JSON.stringify(DEFAULT_TIMEOUTS),
    ),
    perBuild(
      'INSERT INTO attempts (build_id, attempt, worker_id, instance_id, claim_id, claimed_at, ended_at, log_r2_key)',
      "b.id, 1, 'w', 'mac', b.id, b.ended_at, b.ended_at, 'logs/' || b.id",
    ),
    perBuild('INSERT INTO build_inputs (build_id, key_id, sealed)', "b.id, 'k', 'sealed'"),
    perBuild('INSERT INTO attempt_evidence (build_id, attempt, evidence)', "b.id, 1, '{}'"),
    perBuild(
      'INSERT INTO idempotency (root_id, project, name, request_mac, target, created_at)',
      "'k', '', b.id, 'm', b.id, b.ended_at",
    ),
    perBuild('INSERT INTO events (build_id, attempt, type, at, detail)', "b.id, 1, 'x', b.ended_at, '{}'", EVENTS),
    perBuild(
      'INSERT INTO blobs (sha256, r2_key, size, created_at, touched_at)',
      "b.id || '-' || n.i, b.id || '-' || n.i, 1, b.ended_at, b.ended_at",
      ARTIFACTS,
    ),
    perBuild(
      'INSERT INTO artifacts (build_id, attempt, name, sha256, size, created_at)',
      "b.id, 1, 'a' || n.i, b.id || '-' || n.i, 1, b.ended_at",
      ARTIFACTS,
    ),
  ]);
}

/** An hour has 59 other minutes, each of which does a portion of the outbox. */
const WORK_AN_HOUR = 50 * 59 * SHARE;
/**
 * A whole year only removes the rows. A workerd on one's own machine keeps open the files of every object
 * that was ever called, so it ends after some 10,000 builds.
 */
const workOfAnHour = (now: number) =>
  DAYS < 365
    ? drainOutbox(env, now, { limit: WORK_AN_HOUR })
    : sql(
        'DELETE FROM outbox WHERE rowid IN (SELECT rowid FROM outbox WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2)',
        now,
        WORK_AN_HOUR,
      ).run();

const countOf = async (from: string) =>
  (await sql(`SELECT count(*) AS count FROM ${from}`).first<{ count: number }>())!.count;

test(`after ${DAYS} days the tables hold what the days of retention say`, { timeout: 3_600_000 }, async () => {
  let mostStatements = 0;
  for (let day = 0; day < DAYS; day++) {
    await aDay(day);
    for (let hour = 1; hour <= 24; hour++) {
      const now = START + day * DAY_MS + hour * HOUR_MS;
      const usage = begin('retention');
      await retain(withPlatformLimits(env, usage), now, KEPT, SHARE);
      mostStatements = Math.max(mostStatements, usage.statements);
      await workOfAnHour(now);
    }
  }
  expect(mostStatements).toBeLessThanOrEqual(STATEMENTS_MAX);
  const end = START + DAYS * DAY_MS;
  /** The builds that ended within so many days. The run of the last hour is exact, so the count is too. */
  const builds = (days: number) => countOf(`builds WHERE ended_at >= ${end - days * DAY_MS}`);
  const [all, withLog, withArtifacts, withSource] = [
    await builds(KEPT.builds),
    await builds(KEPT.logs),
    await builds(KEPT.artifacts),
    await builds(KEPT.sources),
  ];
  expect(all).toBe(KEPT.builds * BUILDS_A_DAY);
  expect({
    builds: await countOf('builds'),
    attempts: await countOf('attempts'),
    evidence: await countOf('attempt_evidence'),
    events: await countOf('events'),
    names: await countOf('idempotency'),
    logs: await countOf('attempts WHERE log_deleted_at IS NULL'),
    artifacts: await countOf('artifacts'),
    sources: await countOf('builds WHERE source_blob IS NOT NULL'),
    inputs: await countOf('build_inputs'),
    blobs: await countOf('blobs'),
    outbox: await countOf(`outbox WHERE due_at <= ${end}`),
  }).toEqual({
    ...{ builds: all, attempts: all, evidence: all, events: EVENTS * all, names: all },
    ...{ logs: withLog, artifacts: ARTIFACTS * withArtifacts, sources: withSource, inputs: withSource },
    ...{ blobs: ARTIFACTS * withArtifacts + withSource, outbox: 0 },
  });
  expect(await wrongLoads(env.DB)).toEqual([]);
});
