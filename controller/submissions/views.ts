/** Finds, lists and shows submissions as the API answers them. Reads only. */
import { and, asc, desc, eq, type SQL, sql } from 'drizzle-orm';
import { SUBMISSION_EVENTS_MAX, SUBMISSIONS_OF_BUILD_MAX, type Submission, type SubmissionDetail } from '#contract';
import { isOfLiveProject, readableBy } from '../access/readable-builds.ts';
import type { Holder, Thing } from '../access/rights.ts';
import { type Cursor, nextCursor } from '../builds/list.ts';
import { openDatabase } from '../database.ts';
import { builds, keys, storeKeys, submissionEvents, submissions } from '../schema/index.ts';
import { explainReason } from '../stores/reasons.ts';
import { iso, isoOrNull } from '../times.ts';
import type { SubmissionRow } from './submitted.ts';

/** A submission, and the fields of its build that decide which keys may see it. */
interface FoundSubmission {
  submission: SubmissionRow;
  thing: Required<Pick<Thing, 'projectId' | 'pool' | 'trusted'>>;
}

/** A submission of a project that is not deleted. */
export const findSubmission = (env: Env, id: string): Promise<FoundSubmission | undefined> =>
  openDatabase(env)
    .select({
      submission: submissions,
      thing: { projectId: submissions.projectId, pool: builds.pool, trusted: builds.trusted },
    })
    .from(submissions)
    .innerJoin(builds, eq(builds.id, submissions.buildId))
    .where(and(eq(submissions.id, id), isOfLiveProject))
    .get();

interface ShownRow {
  submission: SubmissionRow;
  keyName: string | null;
  storeKeyName: string | null;
}

const view = ({ submission: row, keyName, storeKeyName }: ShownRow): Submission => ({
  ...{ id: row.id, buildId: row.buildId, projectId: row.projectId, store: row.store, state: row.state },
  failure: row.reason && explainReason(row.reason, row.storeWords),
  warnings: row.warnings,
  artifact: { name: row.artifact, attempt: row.attempt, sha256: row.sha256, size: row.size },
  app: { id: row.appId, version: row.version, buildNumber: row.buildNumber },
  options: row.options,
  storeKey: { name: storeKeyName ?? row.storeKeyId, version: row.storeKeyVersion },
  sentBytes: row.sentBytes,
  createdBy: { keyId: row.createdByKey, name: keyName },
  ...{ createdAt: iso(row.createdAt), updatedAt: iso(row.updatedAt), endedAt: isoOrNull(row.endedAt) },
});

const shownRows = (env: Env, where: SQL | undefined, limit: number) =>
  openDatabase(env)
    .select({
      submission: submissions,
      // In a batch D1 answers columns by their names alone.
      keyName: sql<string | null>`${keys.name}`.as('key_name'),
      storeKeyName: sql<string | null>`${storeKeys.name}`.as('store_key_name'),
    })
    .from(submissions)
    .innerJoin(builds, eq(builds.id, submissions.buildId))
    .leftJoin(keys, eq(keys.id, submissions.createdByKey))
    .leftJoin(storeKeys, eq(storeKeys.id, submissions.storeKeyId))
    .where(where)
    .orderBy(desc(submissions.createdAt), desc(submissions.id))
    .limit(limit);

/** The submissions of a build, newest first. The caller has authorised the access to the build. */
export async function listSubmissionsOf(env: Env, buildId: string): Promise<Submission[]> {
  return (await shownRows(env, eq(submissions.buildId, buildId), SUBMISSIONS_OF_BUILD_MAX)).map(view);
}

/** A page of the submissions of a project whose builds the key may read, newest first. */
export async function listSubmissions(
  env: Env,
  key: Holder,
  projectId: string,
  { cursor, limit }: { cursor?: Cursor | undefined; limit: number },
): Promise<{ submissions: Submission[]; nextCursor: string | null }> {
  const older = cursor && sql`(${submissions.createdAt}, ${submissions.id}) < (${cursor.createdAt}, ${cursor.id})`;
  const rows = await shownRows(env, and(eq(submissions.projectId, projectId), readableBy(key), older), limit);
  const page = rows.map(({ submission }) => submission);
  return { submissions: rows.map(view), nextCursor: nextCursor(page, limit) };
}

/** A submission with its timeline. Null if it was removed meanwhile. */
export async function viewSubmission(env: Env, id: string): Promise<SubmissionDetail | null> {
  const db = openDatabase(env);
  const [[row], timeline] = await db.batch([
    shownRows(env, eq(submissions.id, id), 1),
    db
      .select({ at: submissionEvents.at, state: submissionEvents.state, says: submissionEvents.says })
      .from(submissionEvents)
      .where(eq(submissionEvents.submissionId, id))
      .orderBy(asc(submissionEvents.number))
      .limit(SUBMISSION_EVENTS_MAX),
  ]);
  return row ? { ...view(row), timeline: timeline.map((entry) => ({ ...entry, at: iso(entry.at) })) } : null;
}
