/**
 * Removes what has been kept long enough: sources, artifacts, logs, whole builds, and files that nothing
 * refers to.
 *
 * Invariant: a file's row is removed only if no build and no artifact refers to it and none of its holders
 * asked for the file for a day. The statement that removes the row checks both, and removes its holds. A
 * later reference is refused, and its sender uploads the file again, under another R2 key. The outbox deletes
 * the object in R2 after the row.
 *
 * Each run removes portions of each kind until one comes back short, within the statements that D1 takes in
 * an invocation, and within a time. A build that has not ended is left alone. The outbox deletes what an
 * attempt has stored in R2 and in objects.
 *
 * An artifact stays while a submission sends it, and so does its build.
 *
 * All builds of a deleted project count as kept long enough, and so does all else that belongs to it.
 *
 * Owns, and nothing else does it: the removal of rows of `builds`, `build_inputs`, `attempts`,
 * `attempt_evidence`, `events`, `artifacts`, `submissions`, `links`, `idempotency`, `blobs` and `blob_holds`,
 * and emptying `builds.source_blob`, `builds.inputs` and the sealed logs in `attempts`.
 * Adds rows to `outbox` and `submission_work`.
 */
import { DAY_MS, DEFAULT_TIMEOUTS } from '#contract';
import { TOKEN_SLACK_MS } from '../attempts/assignment.ts';
import { removeOrphans } from '../files/blobs.ts';
import { type RetentionDays, retentionDays } from '../files/retention-days.ts';

const HOUR_MS = 3_600_000;
/** A client that found its file stored needs it until it has submitted its build or made its report. */
const BLOB_UNTOUCHED_MS = 24 * HOUR_MS;
/** A file may live on for others. A holder that has not asked for it for this long must send it again. */
const HOLD_UNTOUCHED_MS = 30 * DAY_MS;
/** The list of links shows ended links for this long. */
const LINK_ENDED_MS = DAY_MS;
/** R2 drops an unfinished upload in parts after a week. An older object without a row never gets one. */
const ORPHAN_MS = 8 * DAY_MS;
/**
 * The sweep runs each minute. Retention looks through whole tables, so it runs once an hour, at this minute.
 */
export const MINUTE_OF_RETENTION = 17;
/** Rows of a table, or files. */
const PORTION = 500;
/** A build has some dozen rows in other tables, which are removed with it. */
const BUILDS_PORTION = 200;
/** D1 takes 50 in an invocation on the free plan. The sweep needs one of them. */
const STATEMENTS_MAX = 48;
const TIME_MAX_MS = 20_000;

/** Rows that ended, or were touched, before these moments have been kept long enough. */
interface Moments {
  now: number;
  sources: number;
  artifacts: number;
  logs: number;
  builds: number;
  blobs: number;
  holds: number;
  links: number;
}

interface Kind {
  /** How many are removed at once. */
  portion: number;
  /** The most statements that a portion costs. */
  statements: number;
  /** Removes a portion, and answers how many it has removed. */
  remove(db: D1Database, before: Moments, portion: number): Promise<number>;
}

/** Foreign keys decide the order: what refers to a file or a build is removed before it. */
const KINDS: Record<string, Kind> = {
  sources: { portion: PORTION, statements: 1, remove: releaseSources },
  inputs: { portion: PORTION, statements: 1, remove: removeInputs },
  artifacts: { portion: PORTION, statements: 1, remove: removeArtifacts },
  logs: { portion: PORTION, statements: 3, remove: removeLogs },
  builds: { portion: BUILDS_PORTION, statements: 10, remove: removeBuilds },
  submissions: { portion: PORTION, statements: 2, remove: removeSubmissions },
  links: { portion: PORTION, statements: 1, remove: removeLinks },
  names: { portion: PORTION, statements: 1, remove: removeNames },
  holds: { portion: PORTION, statements: 1, remove: removeHolds },
  blobs: { portion: PORTION, statements: 3, remove: removeBlobs },
};

/**
 * Removes a portion of each kind, then another one of each kind whose portion was full, and so on. A kind
 * that fails does not stop the others.
 *
 * @param share which share of a portion counts as one; only a test has smaller ones
 * @throws if RETENTION_DAYS is not as documented, so that nothing is deleted by mistake
 */
export async function retain(env: Env, now: number, kept = retentionDays(env), share = 1): Promise<void> {
  const before: Moments = {
    now,
    ...momentsOf(kept, now),
    blobs: now - BLOB_UNTOUCHED_MS,
    holds: now - HOLD_UNTOUCHED_MS,
    links: now - LINK_ENDED_MS,
  };
  const stopAt = Date.now() + TIME_MAX_MS;
  await tried('orphans', () => removeOrphans(env, now - ORPHAN_MS));
  let statements = 1;
  for (let left = Object.entries(KINDS); left.length > 0; ) {
    const full: typeof left = [];
    for (const [name, kind] of left) {
      if (statements + kind.statements > STATEMENTS_MAX || Date.now() > stopAt) continue;
      statements += kind.statements;
      const portion = Math.ceil(kind.portion * share);
      const removed = await tried(name, () => kind.remove(env.DB, before, portion));
      if (removed !== null && removed >= portion) full.push([name, kind]);
    }
    left = full;
  }
}

const momentsOf = (kept: RetentionDays, now: number) => ({
  sources: now - kept.sources * DAY_MS,
  artifacts: now - kept.artifacts * DAY_MS,
  logs: now - kept.logs * DAY_MS,
  builds: now - kept.builds * DAY_MS,
});

/** Null if `work` failed. */
async function tried<T>(kind: string, work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    console.error(JSON.stringify({ event: 'retention_failed', kind, error: String(error) }));
    return null;
  }
}

/**
 * Releases the sources of old builds. Only a retry would need them. A build of the former release has its
 * inputs in its row; `has_inputs` still says that there were some.
 */
async function releaseSources(db: D1Database, before: Moments, portion: number): Promise<number> {
  const { meta } = await db
    .prepare(
      `UPDATE builds SET source_blob = NULL, has_inputs = coalesce(has_inputs, inputs IS NOT NULL), inputs = NULL
       WHERE id IN (
         SELECT id FROM builds WHERE source_blob IS NOT NULL AND ended_at < ?1 ORDER BY ended_at LIMIT ?2)`,
    )
    .bind(before.sources, portion)
    .run();
  return meta.changes;
}

/** Deletes the sealed inputs of old builds. Only a retry would need them. */
async function removeInputs(db: D1Database, before: Moments, portion: number): Promise<number> {
  const { meta } = await db
    .prepare(
      `DELETE FROM build_inputs WHERE build_id IN (
         SELECT builds.id FROM build_inputs JOIN builds ON builds.id = build_inputs.build_id
         WHERE builds.ended_at < ?1 ORDER BY builds.ended_at LIMIT ?2)`,
    )
    .bind(before.sources, portion)
    .run();
  return meta.changes;
}

async function removeArtifacts(db: D1Database, before: Moments, portion: number): Promise<number> {
  const { meta } = await db
    .prepare(
      `DELETE FROM artifacts WHERE rowid IN (
         SELECT artifacts.rowid FROM artifacts JOIN builds ON builds.id = artifacts.build_id
         WHERE artifacts.created_at < ?1 AND builds.ended_at < ?1
           AND NOT EXISTS (SELECT 1 FROM submissions
             WHERE submissions.build_id = artifacts.build_id AND submissions.blob = artifacts.sha256)
         ORDER BY artifacts.created_at LIMIT ?2)`,
    )
    .bind(before.artifacts, portion)
    .run();
  return meta.changes;
}

async function removeLogs(db: D1Database, before: Moments, portion: number): Promise<number> {
  const { results } = await db
    .prepare(
      `SELECT attempts.rowid AS id FROM attempts JOIN builds ON builds.id = attempts.build_id
       WHERE attempts.log_r2_key IS NOT NULL AND attempts.log_deleted_at IS NULL AND attempts.ended_at < ?1
         AND builds.ended_at IS NOT NULL ORDER BY attempts.ended_at LIMIT ?2`,
    )
    .bind(before.logs, portion)
    .all<{ id: number }>();
  if (results.length === 0) return 0;
  const ids = JSON.stringify(results.map(({ id }) => id));
  const these = 'attempts.rowid IN (SELECT value FROM json_each(?1)) AND log_deleted_at IS NULL';
  await db.batch([
    db.prepare(`${ATTEMPT_WORK} WHERE ${these}`).bind(ids, before.now),
    db.prepare(`UPDATE attempts SET log_deleted_at = ?2 WHERE ${these}`).bind(ids, before.now),
  ]);
  return results.length;
}

async function removeBuilds(db: D1Database, before: Moments, portion: number): Promise<number> {
  const { results } = await db
    .prepare(
      `SELECT id FROM (SELECT id FROM builds WHERE ended_at < ?1 AND NOT EXISTS (
         SELECT 1 FROM submissions WHERE submissions.build_id = builds.id AND submissions.blob IS NOT NULL)
         ORDER BY ended_at LIMIT ?2)
       UNION SELECT id FROM (SELECT builds.id FROM projects JOIN builds ON builds.project_id = projects.id
         WHERE projects.deleted_at IS NOT NULL AND builds.ended_at IS NOT NULL LIMIT ?2)
       LIMIT ?2`,
    )
    .bind(before.builds, portion)
    .all<{ id: string }>();
  if (results.length === 0) return 0;
  const ids = JSON.stringify(results.map(({ id }) => id));
  const these = 'IN (SELECT value FROM json_each(?1))';
  await db.batch([
    // Also if the log was deleted before, because the former release left the data of the objects.
    db.prepare(`${ATTEMPT_WORK} WHERE attempts.build_id ${these}`).bind(ids, before.now),
    db.prepare(`${UNCLAIMED_WORK} AND id ${these}`).bind(ids, before.now),
    db.prepare(`DELETE FROM artifacts WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM events WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM attempt_evidence WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM attempts WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM build_inputs WHERE build_id ${these}`).bind(ids),
    db.prepare(`DELETE FROM idempotency WHERE target ${these}`).bind(ids),
    db.prepare(`DELETE FROM builds WHERE id ${these}`).bind(ids),
  ]);
  return results.length;
}

/**
 * Deletes what an attempt has stored in R2 and in objects, once its tokens have expired. Before that a late
 * append would begin a second log.
 */
const ATTEMPT_WORK = `INSERT INTO outbox (kind, build_id, attempt, due_at, tries)
  SELECT 'delete_log', attempts.build_id, attempts.attempt,
    max(?2, attempts.claimed_at + ${TOKEN_SLACK_MS} +
      coalesce(json_extract(builds.timeouts, '$.buildTimeoutMs'), ${DEFAULT_TIMEOUTS.buildTimeoutMs})), 0
  FROM attempts JOIN builds ON builds.id = attempts.build_id`;

/** The deadline object of a build that no worker has claimed may be armed for a claim that was lost. */
const UNCLAIMED_WORK = `INSERT INTO outbox (kind, build_id, attempt, due_at, tries)
  SELECT 'delete_log', id, 0, ?2, 0 FROM builds WHERE attempt = 0`;

/**
 * Deletes ended submissions whose build was removed, also by the former release, which does not know this
 * table. The added work then deletes the data of their objects.
 */
async function removeSubmissions(db: D1Database, before: Moments, portion: number): Promise<number> {
  const these = `id IN (SELECT id FROM submissions WHERE ended_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM builds WHERE builds.id = submissions.build_id) ORDER BY id LIMIT ?1)`;
  const [, removed] = await db.batch([
    db
      .prepare(
        `INSERT INTO submission_work (kind, target, due_at, tries)
         SELECT 'forget_submission', id, ?2, 0 FROM submissions WHERE ${these}`,
      )
      .bind(portion, before.now),
    db.prepare(`DELETE FROM submissions WHERE ${these}`).bind(portion),
  ]);
  return removed!.meta.changes;
}

/** Deletes links only a while after their end, so that people find in the list why a link does not work. */
async function removeLinks(db: D1Database, before: Moments, portion: number): Promise<number> {
  const { meta } = await db
    .prepare(
      `DELETE FROM links WHERE rowid IN (
         SELECT rowid FROM (SELECT rowid FROM links WHERE expires_at < ?1 LIMIT ?2)
         UNION SELECT rowid FROM (SELECT rowid FROM links WHERE revoked_at < ?1 LIMIT ?2)
         LIMIT ?2)`,
    )
    .bind(before.links, portion)
    .run();
  return meta.changes;
}

/** Deletes the names of builds that the former release has removed. It does not know this table. */
async function removeNames(db: D1Database, before: Moments, portion: number): Promise<number> {
  const { meta } = await db
    .prepare(
      `DELETE FROM idempotency WHERE rowid IN (
         SELECT rowid FROM idempotency WHERE created_at < ?1
           AND NOT EXISTS (SELECT 1 FROM builds WHERE builds.id = idempotency.target) ORDER BY created_at LIMIT ?2)`,
    )
    .bind(before.builds, portion)
    .run();
  return meta.changes;
}

/**
 * Removes holds that nobody has used for long, though their files live on, and those of deleted projects.
 * Each hour it looks through a sixteenth of all holds, by the first digit of the SHA-256.
 */
async function removeHolds(db: D1Database, before: Moments, portion: number): Promise<number> {
  const digit = (Math.floor(before.now / HOUR_MS) % 16).toString(16);
  const { meta } = await db
    .prepare(
      `DELETE FROM blob_holds WHERE rowid IN (
         SELECT rowid FROM (SELECT rowid FROM blob_holds
           WHERE sha256 >= ?2 AND sha256 < ?2 || 'g' AND touched_at < ?1 LIMIT ?3)
         UNION SELECT rowid FROM (SELECT blob_holds.rowid FROM projects JOIN blob_holds ON holder = projects.id
           WHERE projects.deleted_at IS NOT NULL LIMIT ?3)
         LIMIT ?3)`,
    )
    .bind(before.holds, digit, portion)
    .run();
  return meta.changes;
}

async function removeBlobs(db: D1Database, before: Moments, portion: number): Promise<number> {
  const collectable = `touched_at < ?1
    AND NOT EXISTS (SELECT 1 FROM blob_holds WHERE blob_holds.sha256 = blobs.sha256 AND blob_holds.touched_at >= ?1)
    AND NOT EXISTS (SELECT 1 FROM builds WHERE builds.source_blob = blobs.sha256)
    AND NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.sha256 = blobs.sha256)
    AND NOT EXISTS (SELECT 1 FROM submissions WHERE submissions.blob = blobs.sha256)
    AND NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.icon = blobs.sha256)`;
  const { results } = await db
    .prepare(`SELECT sha256 FROM blobs WHERE ${collectable} ORDER BY touched_at LIMIT ?2`)
    .bind(before.blobs, portion)
    .all<{ sha256: string }>();
  if (results.length === 0) return 0;
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
      .bind(before.blobs, hashes, before.now),
    db.prepare(`DELETE FROM blobs WHERE ${named} AND ${collectable}`).bind(before.blobs, hashes),
  ]);
  return results.length;
}
