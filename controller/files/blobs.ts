/**
 * Stored files, named by the SHA-256 of their content: sources and artifacts. The one owner of the `blobs` table and of
 * R2 below `blobs/`.
 * Invariant: a row means that the object is there, whole, with that digest. The object comes first, verified by R2 while it
 * arrives; the row makes it visible. What has no row is nobody's, and goes in the end.
 */
import { eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import { BLOB_MAX_BYTES, type BlobStored } from '#contract';
import { randomText } from '../bytes.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { blobs } from '../schema.ts';

/** What R2 answers when the content does not have the digest that it was put with. */
const R2_BAD_DIGEST = 10037;
const ORPHANS_PORTION = 500;

/**
 * Stores the body, of exactly `size` bytes, unless it is stored already. `too_large`, `hash_mismatch`; nothing is left of
 * what was refused. The body is always read to its end: a connection closed in mid-upload hides the answer from the client.
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
      `one request holds at most ${BLOB_MAX_BYTES} bytes (95 MiB), this has ${size}: send it in parts, POST /api/blobs/${sha256}/uploads; on the Workers Free plan 95 MiB are the limit of a file`,
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

/** Whether the blob is stored; if so, collection spares it as if it had been uploaded now. */
export async function touchBlob(env: Env, sha256: string, now: number): Promise<BlobStored | null> {
  const row = await drizzle(env.DB)
    .update(blobs)
    .set({ touchedAt: now })
    .where(eq(blobs.sha256, sha256))
    .returning({ size: blobs.size })
    .get();
  return row ? { sha256, size: row.size, existed: true } : null;
}

/** Where the content lies and how long it is. Null if it is not stored. */
export async function openBlobRow(env: Env, sha256: string): Promise<typeof blobs.$inferSelect | null> {
  return (await drizzle(env.DB).select().from(blobs).where(eq(blobs.sha256, sha256)).get()) ?? null;
}

/** The content, or the given part of it. Null if it is not stored. */
export async function openBlob(env: Env, sha256: string, range?: R2Range): Promise<R2ObjectBody | null> {
  const row = await openBlobRow(env, sha256);
  return row ? env.BLOBS.get(row.r2Key, { range }) : null;
}

/** Of two uploads at once the first row wins, and the other takes its own object away. */
export async function makeVisible(env: Env, row: typeof blobs.$inferInsert): Promise<BlobStored> {
  const db = drizzle(env.DB);
  const winner = await db
    .insert(blobs)
    .values(row)
    .onConflictDoUpdate({ target: blobs.sha256, set: { touchedAt: row.touchedAt } })
    .returning({ r2Key: blobs.r2Key, size: blobs.size })
    // A lost answer leaves it open which object is the visible one: nothing is deleted, at worst an object without row stays.
    .get();
  const existed = winner.r2Key !== row.r2Key;
  if (existed) await env.BLOBS.delete(row.r2Key);
  return { sha256: row.sha256, size: winner.size, existed };
}

/**
 * Takes away what a crash left between object and row: of a portion of all objects, from a random place, so that each has its turn. Only of
 * those put before `putBefore`: nothing may still be about to make them visible.
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

/** R2 has a number for each failure; where the runtime does not set it as a field, it stands at the end of the message. */
export function r2ErrorCode(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'number') return error.code;
  const code = /\((\d{5})\)$/.exec(error.message)?.[1];
  return code === undefined ? undefined : Number(code);
}
