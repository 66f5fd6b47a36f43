/**
 * Reads a submission, its store key, artifact and build as they are now, and says whether it may go on. Reads
 * only.
 *
 * Invariant: right, store key and artifact are checked at the beginning and again before the first byte
 * leaves, because hours may lie between.
 */
import { and, eq, sql } from 'drizzle-orm';
import type { SubmissionReason } from '#contract';
import { whyNoMore } from '../access/still-may.ts';
import { openDatabase } from '../database.ts';
import { artifacts, blobs, builds, storeKeys, submissions } from '../schema/index.ts';
import { type StoreKeyRow, whyNotFor } from '../stores/store-keys.ts';

export type SubmissionRow = typeof submissions.$inferSelect;

export interface Submitted {
  submission: SubmissionRow;
  /** In its newest version. Null if it was removed. */
  storeKey: StoreKeyRow | null;
  /** Where the artifact lies in R2. Null if it is not kept any more. */
  r2Key: string | null;
  /** The app that the agent has read from the artifact. Null if the build has lost the artifact. */
  artifact: { app: (typeof artifacts.$inferSelect)['app'] } | null;
  build: { pool: string; trusted: boolean; poolIsTrusted: number } | null;
  isLive: boolean;
}

/** One statement. Null if the submission was removed. */
export async function readSubmitted(env: Env, id: string): Promise<Submitted | null> {
  const row = await openDatabase(env)
    .select({
      submission: submissions,
      storeKey: storeKeys,
      r2Key: blobs.r2Key,
      artifact: { name: artifacts.name, app: artifacts.app },
      build: {
        ...{ pool: builds.pool, trusted: builds.trusted },
        poolIsTrusted: sql<number>`EXISTS (SELECT 1 FROM pools WHERE pools.name = ${builds.pool} AND pools.trusted)`,
      },
      isLive: sql<number>`EXISTS (
        SELECT 1 FROM projects WHERE projects.id = ${submissions.projectId} AND projects.deleted_at IS NULL)`,
    })
    .from(submissions)
    .leftJoin(storeKeys, eq(storeKeys.id, submissions.storeKeyId))
    .leftJoin(blobs, eq(blobs.sha256, submissions.blob))
    .leftJoin(
      artifacts,
      and(
        ...[eq(artifacts.buildId, submissions.buildId), eq(artifacts.attempt, submissions.attempt)],
        ...[eq(artifacts.name, submissions.artifact), eq(artifacts.sha256, submissions.sha256)],
      ),
    )
    .leftJoin(builds, eq(builds.id, submissions.buildId))
    .where(eq(submissions.id, id))
    .get();
  return row ? { ...row, isLive: row.isLive === 1 } : null;
}

interface WhyNot {
  reason: SubmissionReason;
  storeWords: string | null;
}

const because = (reason: SubmissionReason, storeWords: string | null = null): WhyNot => ({ reason, storeWords });

/** Why the submission cannot go on in any state. Null if it can. Pure. */
export function whyNotAtAll({ storeKey, isLive }: Submitted): WhyNot | null {
  if (!storeKey) return because('key_gone');
  return isLive ? null : because('right_gone');
}

/** Why the controller may send nothing to the store for this submission. Null if it may. */
export async function whyNotToSend(env: Env, submitted: Submitted, now: number): Promise<WhyNot | null> {
  const { submission, storeKey, artifact, build, r2Key } = submitted;
  const atAll = whyNotAtAll(submitted);
  if (atAll || !storeKey) return atAll;
  if (!build || !artifact || r2Key === null) return because('artifact_gone');
  const { store, appId } = submission;
  const unfit = whyNotFor(storeKey, { store, appId, pool: build.pool });
  if (unfit !== null) return because('key_not_for_app', unfit);
  if (build.poolIsTrusted === 0) return because('key_not_for_app', `Pool ${build.pool} is not trusted.`);
  if (artifact.app?.id !== submission.appId) return because('app_mismatch');
  const { createdByKey, createdByRoot, projectId } = submission;
  const thing = { projectId, pool: build.pool, trusted: build.trusted };
  const why = build.trusted
    ? await whyNoMore(env, { createdByKey, createdByRoot }, 'stores', thing, now)
    : 'is of an untrusted build';
  return why === null ? null : because('right_gone', `The key that asked for it ${why}.`);
}
