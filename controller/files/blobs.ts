/**
 * Stores files, sources and artifacts, under the SHA-256 of their content.
 *
 * Invariant: a row of `blobs` means that its object is in R2, whole and with that digest. The object comes
 * first, and R2 verifies it while it arrives. The row then makes it visible.
 *
 * Owns the table `blobs`, but for the removal of rows (upkeep/retention.ts). Owns R2 below `blobs/` together
 * with upload-parts.ts and blob-upload.ts. upkeep/outbox.ts deletes an object after its row. The cron deletes
 * an object that never got a row, once it is eight days old.
 */
import { eq } from 'drizzle-orm';
import { BLOB_MAX_BYTES, type BlobStored } from '#contract';
import { randomText } from '../bytes.ts';
import { openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { blobs } from '../schema/index.ts';

/** R2's error for content that does not have the announced digest. */
const R2_BAD_DIGEST = 10037;
const ORPHANS_PORTION = 500;

/**
 * Stores the body, of exactly `size` bytes, unless the file is stored already. Refused: `too_large`,
 * `hash_mismatch`; then nothing of it stays. The body is read to its end, because a client whose upload is
 * cut off does not see the answer.
 */
export async function storeBlob(
  env: Env,
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

  const stored = await touchBlob(env, sha256, now);
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
  return { ok: true, ...(await makeVisible(env, { sha256, r2Key, size, createdAt: now, touchedAt: now })) };
}

/** Whether the blob is stored. If so, retention spares it as if it had been uploaded now. */
export async function touchBlob(env: Env, sha256: string, now: number): Promise<BlobStored | null> {
  const row = await openDatabase(env)
    .update(blobs)
    .set({ touchedAt: now })
    .where(eq(blobs.sha256, sha256))
    .returning({ size: blobs.size })
    .get();
  return row ? { sha256, size: row.size, existed: true } : null;
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
 * Writes the row of a whole object. Of two uploads at once the first row wins, and the other deletes its
 * object.
 */
export async function makeVisible(env: Env, row: typeof blobs.$inferInsert): Promise<BlobStored> {
  const db = openDatabase(env);
  const winner = await db
    .insert(blobs)
    .values(row)
    .onConflictDoUpdate({ target: blobs.sha256, set: { touchedAt: row.touchedAt } })
    .returning({ r2Key: blobs.r2Key, size: blobs.size })
    // If D1's answer is lost, it is unknown which object is visible. Then nothing is deleted here;
    // removeOrphans does it.
    .get();
  const existed = winner.r2Key !== row.r2Key;
  if (existed) await env.BLOBS.delete(row.r2Key);
  return { sha256: row.sha256, size: winner.size, existed };
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
