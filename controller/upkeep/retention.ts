/**
 * Removes what has been kept long enough: sources, artifacts, logs, whole builds, and files that nothing
 * refers to.
 *
 * Invariant: a file's row is removed only if no row refers to it and nobody asked for the file for a day. The
 * statement that removes the row checks both. A later reference fails by its foreign key, and its sender
 * uploads the file again, under another R2 key. The outbox deletes the object in R2 after the row.
 *
 * Each run removes a bounded number of each kind, by a constant number of statements. A build that has not
 * ended is left alone.
 *
 * Owns, and nothing else does it: the removal of rows of `builds`, `build_inputs`, `attempts`,
 * `attempt_evidence`, `events`, `artifacts`, `idempotency` and `blobs`, and emptying `builds.source_blob`,
 * `builds.inputs` and the sealed logs in `attempts`. Adds rows to `outbox`.
 */
import { z } from 'zod';
import { DAY_MS } from '#contract';
import { removeOrphans } from '../files/blobs.ts';

const HOUR_MS = 3_600_000;
/** A client that found its file stored needs it until it has submitted its build or made its report. */
const BLOB_UNTOUCHED_MS = 24 * HOUR_MS;
/** R2 drops an unfinished upload in parts after a week. An older object without a row never gets one. */
const ORPHAN_MS = 8 * DAY_MS;
/**
 * The sweep runs each minute. Retention looks through whole tables, so it runs once an hour, at this minute.
 */
const MINUTE_OF_HOUR = 17;
const PORTION = 200;
const BUILDS_PORTION = 20;

const days = (usual: number) => z.number().int().min(1).max(3_650).default(usual);
/** The variable RETENTION_DAYS of the deployment. */
export const RetentionDays = z.object({ logs: days(30), artifacts: days(14), sources: days(3), builds: days(180) });
export type RetentionDays = z.infer<typeof RetentionDays>;

export const isMinuteOfRetention = (now: number): boolean => Math.floor(now / 60_000) % 60 === MINUTE_OF_HOUR;

/** Called by the sweep once an hour. */
export const retain = (env: Env, now: number): Promise<void> => retainNow(env, now);

/** @throws if RETENTION_DAYS is not as documented, so that nothing is deleted by mistake */
export async function retainNow(env: Env, now: number, kept = RetentionDays.parse(env.RETENTION_DAYS ?? {})) {
  const before = (count: number) => now - count * DAY_MS;
  await releaseSources(env.DB, before(kept.sources));
  await removeInputs(env.DB, before(kept.sources));
  await removeArtifacts(env.DB, before(kept.artifacts));
  await removeLogs(env.DB, before(kept.logs), now);
  await removeBuilds(env.DB, before(kept.builds), now);
  await removeNames(env.DB, before(kept.builds));
  await removeBlobs(env.DB, now - BLOB_UNTOUCHED_MS, now);
  await removeOrphans(env, now - ORPHAN_MS);
}

/**
 * Releases the sources of old builds. Only a retry would need them. A build of the former release has its
 * inputs in its row; `has_inputs` keeps that they were there.
 */
async function releaseSources(db: D1Database, endedBefore: number): Promise<void> {
  await db
    .prepare(
      `UPDATE builds SET source_blob = NULL, has_inputs = coalesce(has_inputs, inputs IS NOT NULL), inputs = NULL
       WHERE id IN (
         SELECT id FROM builds WHERE source_blob IS NOT NULL AND ended_at < ?1 ORDER BY ended_at LIMIT ?2)`,
    )
    .bind(endedBefore, PORTION)
    .run();
}

/** Deletes the sealed inputs of old builds. Only a retry would need them. */
async function removeInputs(db: D1Database, endedBefore: number): Promise<void> {
  await db
    .prepare(
      `DELETE FROM build_inputs WHERE build_id IN (
         SELECT builds.id FROM build_inputs JOIN builds ON builds.id = build_inputs.build_id
         WHERE builds.ended_at < ?1 ORDER BY builds.ended_at LIMIT ?2)`,
    )
    .bind(endedBefore, PORTION)
    .run();
}

async function removeArtifacts(db: D1Database, endedBefore: number): Promise<void> {
  await db
    .prepare(
      `DELETE FROM artifacts WHERE rowid IN (
         SELECT artifacts.rowid FROM artifacts JOIN builds ON builds.id = artifacts.build_id
         WHERE artifacts.created_at < ?1 AND builds.ended_at < ?1 ORDER BY artifacts.created_at LIMIT ?2)`,
    )
    .bind(endedBefore, PORTION)
    .run();
}

async function removeLogs(db: D1Database, endedBefore: number, now: number): Promise<void> {
  const { results } = await db
    .prepare(
      `SELECT attempts.rowid AS id FROM attempts JOIN builds ON builds.id = attempts.build_id
       WHERE attempts.log_r2_key IS NOT NULL AND attempts.log_deleted_at IS NULL AND attempts.ended_at < ?1
         AND builds.ended_at IS NOT NULL ORDER BY attempts.ended_at LIMIT ?2`,
    )
    .bind(endedBefore, PORTION)
    .all<{ id: number }>();
  if (results.length === 0) return;
  const ids = JSON.stringify(results.map(({ id }) => id));
  const these = 'rowid IN (SELECT value FROM json_each(?1)) AND log_deleted_at IS NULL';
  await db.batch([
    db.prepare(`${LOG_WORK} WHERE ${these}`).bind(ids, now),
    db.prepare(`UPDATE attempts SET log_deleted_at = ?2 WHERE ${these}`).bind(ids, now),
  ]);
}

async function removeBuilds(db: D1Database, endedBefore: number, now: number): Promise<void> {
  const { results } = await db
    .prepare('SELECT id FROM builds WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2')
    .bind(endedBefore, BUILDS_PORTION)
    .all<{ id: string }>();
  if (results.length === 0) return;
  const ids = JSON.stringify(results.map(({ id }) => id));
  const these = 'IN (SELECT value FROM json_each(?1))';
  await db.batch([
    db
      .prepare(`${LOG_WORK} WHERE build_id ${these} AND log_r2_key IS NOT NULL AND log_deleted_at IS NULL`)
      .bind(ids, now),
    db.prepare(`DELETE FROM artifacts WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM events WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM attempt_evidence WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM attempts WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM build_inputs WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM idempotency WHERE target ${these}`).bind(ids),
    db.prepare(`DELETE FROM builds WHERE id ${these}`).bind(ids),
  ]);
}

/** Deletes the names whose build the former release has removed, which does not know the table. */
async function removeNames(db: D1Database, madeBefore: number): Promise<void> {
  await db
    .prepare(
      `DELETE FROM idempotency WHERE rowid IN (
         SELECT rowid FROM idempotency WHERE created_at < ?1
           AND NOT EXISTS (SELECT 1 FROM builds WHERE builds.id = idempotency.target) ORDER BY created_at LIMIT ?2)`,
    )
    .bind(madeBefore, PORTION)
    .run();
}

const LOG_WORK = `INSERT INTO outbox (kind, build_id, attempt, due_at, tries)
  SELECT 'delete_log', build_id, attempt, ?2, 0 FROM attempts`;

async function removeBlobs(db: D1Database, untouchedSince: number, now: number): Promise<void> {
  const collectable = `touched_at < ?1
    AND NOT EXISTS (SELECT 1 FROM builds WHERE builds.source_blob = blobs.sha256)
    AND NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.sha256 = blobs.sha256)`;
  const { results } = await db
    .prepare(`SELECT sha256 FROM blobs WHERE ${collectable} ORDER BY touched_at LIMIT ?2`)
    .bind(untouchedSince, PORTION)
    .all<{ sha256: string }>();
  if (results.length === 0) return;
  const named = 'sha256 IN (SELECT value FROM json_each(?2))';
  const hashes = JSON.stringify(results.map(({ sha256 }) => sha256));
  // One transaction with the same condition twice, so a file that was touched in between is in neither
  // statement.
  await db.batch([
    db
      .prepare(
        `INSERT INTO outbox (kind, build_id, attempt, r2_key, due_at, tries)
         SELECT 'delete_object', '', 0, r2_key, ?3, 0 FROM blobs WHERE ${named} AND ${collectable}`,
      )
      .bind(untouchedSince, hashes, now),
    db.prepare(`DELETE FROM blobs WHERE ${named} AND ${collectable}`).bind(untouchedSince, hashes),
  ]);
}
