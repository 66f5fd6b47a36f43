/**
 * Stores files, sources and artifacts, under the SHA-256 of their content. All holders of a file share one
 * object in R2 (holds.ts).
 *
 * Invariant: a row of `blobs` means that its object is in R2, whole and with that digest. The object comes
 * first, and R2 verifies it while it arrives. The row then makes it visible. An upload takes the same steps,
 * and answers the same, whether or not somebody else has stored the file.
 *
 * Owns the table `blobs`, but for the removal of rows (upkeep/retention.ts). Owns R2 below `blobs/` together
 * with upload-parts.ts and blob-upload.ts. upkeep/outbox.ts deletes an object after its row. The cron deletes
 * an object that never got a row, once it is eight days old. Adds rows to `outbox`.
 */
import { eq, sql } from 'drizzle-orm';
import { BLOB_MAX_BYTES, type BlobStored } from '#contract';
import { randomText } from '../bytes.ts';
import { insertIf, openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { blobHolds, blobs, outbox } from '../schema/index.ts';
import { type Holder, holdIf, holdOf, touchHold } from './holds.ts';

/** R2's error for content that does not have the announced digest. */
const R2_BAD_DIGEST = 10037;
const ORPHANS_PORTION = 500;

/**
 * Stores the body, of exactly `size` bytes, unless `holder` holds the file already. Refused: `too_large`,
 * `hash_mismatch`, `project_deleted`. The body is read to its end, because a client whose upload is cut off
 * does not see the answer.
 */
export async function storeBlob(
  env: Env,
  holder: Holder,
  sha256: string,
  size: number,
  body: ReadableStream<Uint8Array>,
  now: number,
): Promise<({ ok: true } & BlobStored) | Refusal> {
  if (size > BLOB_MAX_BYTES)
    return refusal(
      'too_large',
      `one request holds at most ${BLOB_MAX_BYTES} bytes (95 MiB), this one has ${size}. ` +
        `Send the file in parts: \`POST /api/blobs/${sha256}/uploads\`. ` +
        'On the Workers Free plan a file has at most 95 MiB.',
    );

  const stored = await touchHold(env, holder, sha256, now);
  if (stored) {
    await body.pipeTo(new WritableStream());
    return { ok: true, ...stored };
  }

  const r2Key = `blobs/${sha256}/${randomText(9)}`;
  try {
    await env.BLOBS.put(r2Key, body.pipeThrough(new FixedLengthStream(size)), { sha256 });
  } catch (error) {
    if (r2ErrorCode(error) === R2_BAD_DIGEST)
      return refusal(
        'hash_mismatch',
        `the body's SHA-256 is not ${sha256}: it changed on the way, or the path is wrong`,
      );
    throw error;
  }
  return makeVisible(env, holder, { sha256, r2Key, size, createdAt: now, touchedAt: now });
}

/** The row, which says where the content is and how long it is. Null if it is not stored. */
export async function openBlobRow(env: Env, sha256: string): Promise<typeof blobs.$inferSelect | null> {
  return (await openDatabase(env).select().from(blobs).where(eq(blobs.sha256, sha256)).get()) ?? null;
}

/** The content or the given part of it. Null if it is not stored. */
export async function openBlob(env: Env, sha256: string, range?: R2Range): Promise<R2ObjectBody | null> {
  const row = await openBlobRow(env, sha256);
  return row ? env.BLOBS.get(row.r2Key, { range }) : null;
}

/**
 * Writes the row of a whole object, and that `holder` holds it, in one batch. If another object of the same
 * content is visible already, the outbox deletes this one. Refused: `project_deleted`.
 */
export async function makeVisible(
  env: Env,
  holder: Holder,
  row: typeof blobs.$inferInsert,
): Promise<({ ok: true } & BlobStored) | Refusal> {
  const { sha256, r2Key, size, touchedAt: now } = row;
  const db = openDatabase(env);
  const surplus = sql`EXISTS (SELECT 1 FROM blobs WHERE sha256 = ${sha256} AND r2_key != ${r2Key})`;
  const deletion = { kind: 'delete_object' as const, buildId: '', attempt: 0, r2Key, dueAt: now };
  // The same statements for every file, so that nobody learns from their number that others have stored it.
  const [earlier, , , held] = await db.batch([
    holdOf(db, holder, sha256),
    db
      .insert(blobs)
      .values(row)
      .onConflictDoUpdate({ target: blobs.sha256, set: { touchedAt: now } }),
    insertIf(db, outbox, deletion, surplus),
    holdIf(db, holder, sha256, now, sql`TRUE`).returning({ sha256: blobHolds.sha256 }),
  ]);
  if (held.length === 0) return refusal('project_deleted', 'the project was deleted, so it gets no further files');
  return { ok: true, sha256, size, existed: earlier.length > 0 };
}

/**
 * Deletes objects that a crash left without a row. It looks at a portion of all objects, from a random place
 * on, so that every object is looked at in time. Objects put after `putBefore` are spared, because their row
 * may still come.
 */
export async function removeOrphans(env: Env, putBefore: number, from = randomPlace()): Promise<void> {
  const { objects } = await env.BLOBS.list({ prefix: 'blobs/', startAfter: `blobs/${from}`, limit: ORPHANS_PORTION });
  const old = objects.filter(({ uploaded }) => uploaded.getTime() < putBefore).map(({ key }) => key);
  if (old.length === 0) return;
  const { results } = await env.DB.prepare('SELECT r2_key FROM blobs WHERE r2_key IN (SELECT value FROM json_each(?1))')
    .bind(JSON.stringify(old))
    .all<{ r2_key: string }>();
  const visible = new Set(results.map(({ r2_key }) => r2_key));
  const orphans = old.filter((key) => !visible.has(key));
  if (orphans.length > 0) await env.BLOBS.delete(orphans);
}

const randomPlace = () => crypto.getRandomValues(new Uint8Array(4)).toHex();

/**
 * R2's number of the failure. Where the runtime does not set it as a field, it is at the end of the message.
 */
export function r2ErrorCode(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'number') return error.code;
  const code = /\((\d{5})\)$/.exec(error.message)?.[1];
  return code === undefined ? undefined : Number(code);
}
