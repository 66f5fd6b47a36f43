/**
 * Replaces a key by a new one of the same name, scope and worker.
 *
 * Invariant: rotation locks nobody out. The answer with the new key can get lost, so the old key stops
 * working only when its overlap has passed and somebody has used the new key.
 *
 * Owns the table `keys` together with keys.ts.
 */
import { eq, sql } from 'drizzle-orm';
import { DAY_MS, type KeyView } from '#contract';
import { openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { keys } from '../schema/index.ts';
import { markEnded } from './ended-keys.ts';
import { ADMIN_KEY_ID, adminKeyRefusal, isUsable, type KeyRow, keyInsertion, newKey, rootOf, viewKey } from './keys.ts';

export const ROTATION_OVERLAP_MS = DAY_MS;

/**
 * Makes the new key, for a request with the key `by`. The old key works for `overlapMs` more, and after that
 * until somebody uses the new one. With 0 it ends now, even if the answer gets lost. A key that renews itself
 * keeps its expiry, because otherwise a thief could renew it for ever. If an admin rotates a key that
 * expires, the new key gets the whole lifetime of the old one. Refused: `not_found` if the key is unknown,
 * revoked or expired.
 *
 * @param untilMs the end of the asking key if it is the admin of projects; the new key ends no later
 */
export async function rotateKey(
  env: Env,
  id: string,
  by: string,
  now: number,
  overlapMs: number = ROTATION_OVERLAP_MS,
  untilMs: number | null = null,
): Promise<{ ok: true; key: KeyView; secret: string } | Refusal> {
  if (id === ADMIN_KEY_ID) return adminKeyRefusal;
  const db = openDatabase(env);
  const refused = refusal(
    'not_found',
    `key ${id} cannot be rotated: it does not exist, has expired, or was revoked. \`GET /api/keys\` lists all keys`,
  );
  const old = await db.select().from(keys).where(eq(keys.id, id)).get();
  if (!old || !(await isUsable(env, old, now))) return refused;

  const lifeMs = old.expiresAt === null || by === id ? null : Math.max(old.expiresAt - old.createdAt, overlapMs);
  const wanted = lifeMs === null ? old.expiresAt : now + lifeMs;
  const expiresAt = untilMs === null ? wanted : Math.min(wanted ?? untilMs, untilMs);
  const made = await newKey({ name: old.name, scope: old.scope, workerId: old.workerId, expiresAt }, now);
  // Both are copied whole, even fields that this release cannot read, so that no right is widened.
  const { rights, pools } = old;
  const row = { ...made.row, rights, pools, rotatedFrom: id, rotatedBy: by, rootId: await rootOf(env, old) };
  // The new row depends on the old one, so a key that is revoked at this very moment gets no successor.
  const notRevoked = sql`EXISTS (SELECT 1 FROM keys WHERE id = ${id} AND revoked_at IS NULL)`;
  const [inserted] = await db.batch([
    keyInsertion(db, row, notRevoked),
    db
      .update(keys)
      .set(endsBy(old, now, overlapMs))
      .where(eq(keys.id, id)),
  ]);
  if (inserted.meta.changes === 0) return refused;
  // Marking never rejects, because the answer has the only copy of the new secret.
  if (overlapMs === 0)
    await markEnded(env, [id]).catch(() => console.error(JSON.stringify({ event: 'key_end_not_marked', key: id })));
  return { ok: true, key: viewKey(row), secret: made.secret };
}

/**
 * A second rotation does not lengthen an overlap. An overlap that passed while nobody used the new key begins
 * anew.
 */
function endsBy({ overlapEndsAt }: KeyRow, now: number, overlapMs: number): Partial<KeyRow> {
  if (overlapMs === 0) return { expiresAt: now };
  const runs = overlapEndsAt !== null && overlapEndsAt > now;
  return { overlapEndsAt: runs ? Math.min(overlapEndsAt, now + overlapMs) : now + overlapMs };
}
