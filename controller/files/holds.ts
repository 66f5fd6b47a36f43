/**
 * Notes the holders of each stored file, who have sent all its bytes to this controller. Only a holder may
 * name the file, ask for it, or be spared its upload.
 *
 * Invariant: a hold is written only in the batch in which a verified upload becomes visible, or in which a
 * build is submitted by somebody who holds its source. No answer shows that others have stored a file.
 *
 * Owns the table `blob_holds`, but for the removal of rows (upkeep/retention.ts).
 */
import { and, eq, inArray, type SQL, sql } from 'drizzle-orm';
import type { BlobStored } from '#contract';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { isLiveProject } from '../projects/conditions.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { blobHolds, blobs } from '../schema/index.ts';

/**
 * The id of a project (`prj_…`), of a worker, or of the first key of a lineage; or an attempt, as
 * {@link attemptHolder} writes it.
 */
export type Holder = string;

/** The words are the same for a file that nobody has stored and for one that only others have stored. */
export const sourceNotStored = (sha256: string): Refusal =>
  refusal('blob_not_stored', `source.sha256: ${sha256} is not stored; upload it first`);

export const attemptHolder = (buildId: string, attempt: number): Holder => `${buildId}/${attempt}`;

/** True while the holder may get further files. Nothing is added to a project that is deleted. */
const mayHold = (holder: Holder): SQL => (holder.startsWith('prj_') ? isLiveProject(holder) : sql`TRUE`);

/** Whether one of them holds the file. */
export const isHeldBy = (holders: readonly Holder[], sha256: string): SQL => sql`EXISTS (
  SELECT 1 FROM blob_holds WHERE ${and(inArray(blobHolds.holder, [...holders]), eq(blobHolds.sha256, sha256))})`;

/** Whether one of the holders holds each of these files. It is one statement for any number of files. */
export const areHeldBy = (holders: readonly Holder[], sha256s: readonly string[]): SQL => sql`NOT EXISTS (
  SELECT 1 FROM json_each(${JSON.stringify(sha256s)}) AS file WHERE NOT EXISTS (
    SELECT 1 FROM blob_holds
    WHERE blob_holds.sha256 = file.value AND ${inArray(blobHolds.holder, [...holders])}))`;

/** The statement that notes a hold, in the batch that proves it, if `condition` holds. */
export const holdIf = (db: Database, holder: Holder, sha256: string, now: number, condition: SQL) =>
  insertIf(
    db,
    blobHolds,
    { holder, sha256, touchedAt: now },
    sql`${mayHold(holder)} AND ${condition}`,
  ).onConflictDoUpdate({ target: [blobHolds.holder, blobHolds.sha256], set: { touchedAt: now } });

/** The statement that finds the hold. */
export const holdOf = (db: Database, holder: Holder, sha256: string) =>
  db
    .select({ touchedAt: blobHolds.touchedAt })
    .from(blobHolds)
    .where(and(eq(blobHolds.holder, holder), eq(blobHolds.sha256, sha256)));

/**
 * Whether the holder has stored the file. If so, retention spares the file as if it had been uploaded now.
 */
export async function touchHold(env: Env, holder: Holder, sha256: string, now: number): Promise<BlobStored | null> {
  const row = await openDatabase(env)
    .update(blobHolds)
    .set({ touchedAt: now })
    .where(and(eq(blobHolds.holder, holder), eq(blobHolds.sha256, sha256)))
    .returning({ size: sql<number>`(SELECT ${blobs.size} FROM ${blobs} WHERE ${blobs.sha256} = ${sha256})` })
    .get();
  return row ? { sha256, size: row.size, existed: true } : null;
}
