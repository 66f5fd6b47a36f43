/**
 * Revokes keys.
 *
 * Invariant: a revoked key and all keys that it became by renewing itself open nothing.
 *
 * Owns the table `keys` together with keys.ts.
 */
import { and, eq, gte, type SQL, sql } from 'drizzle-orm';
import type { KeyView } from '#contract';
import { openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { keys } from '../schema/index.ts';
import { markEnded } from './ended-keys.ts';
import { ADMIN_KEY_ID, adminKeyRefusal, isUsableRow, type KeyRow, viewKey } from './keys.ts';

/** Ends the attempts of a worker. Called when a key of that worker was revoked. */
type OnWorkerKeyRevoked = (env: Env, workerId: string, now: number) => Promise<void>;

/**
 * Revokes a key at once and for ever, and all keys that it became by renewing itself, because a thief may
 * have renewed the key. A key that an admin made in its place stays. A worker's attempts continue if the
 * worker has a newer key, because its agent uses that one. A second call answers the same. Refused:
 * `not_found`, `invalid_request` for ADMIN_KEY.
 */
export async function revokeKey(
  env: Env,
  id: string,
  now: number,
  onWorkerKeyRevoked: OnWorkerKeyRevoked,
): Promise<{ ok: true; key: KeyView; alsoRevoked: KeyView[] } | Refusal> {
  if (id === ADMIN_KEY_ID) return adminKeyRefusal;
  const revoked = await openDatabase(env)
    .update(keys)
    .set({ revokedAt: sql`coalesce(${keys.revokedAt}, ${now})` })
    .where(sql`${keys.id} IN ${becameOf(id)}`)
    .returning();
  const row = revoked.find((one) => one.id === id);
  if (!row) return refusal('not_found', `there is no key ${id}; \`GET /api/keys\` lists all keys`);
  const others = revoked.filter((one) => one !== row).sort((a, b) => a.createdAt - b.createdAt);
  // Also on a repetition, because the first call may have died before this line.
  if (row.workerId !== null && !(await hasNewerKey(env, row, now))) await onWorkerKeyRevoked(env, row.workerId, now);
  await markEnded(env, [id, ...mayHaveStreams(others, now)]);
  return { ok: true, key: viewKey(row), alsoRevoked: others.map(viewKey) };
}

/** Each mark is a request to R2, and a key that renewed itself again and again may have become thousands. */
const MARKS_MAX = 200;

/** The newest of the keys that had not expired. A stream of another one ends when it reaches its bound. */
const mayHaveStreams = (revoked: readonly KeyRow[], now: number): string[] =>
  revoked
    .filter(({ expiresAt }) => expiresAt === null || expiresAt > now)
    .sort((a, b) => b.createdAt - a.createdAt)
    .slice(0, MARKS_MAX)
    .map(({ id }) => id);

/**
 * The ids of the key and of all keys that it became by renewing itself. The former release did not note who
 * made a rotation. We count such a key as renewed by itself, because it is safer to revoke one key too many
 * than one too few.
 */
const becameOf = (id: string): SQL => sql`(
  WITH RECURSIVE became (id) AS (
    SELECT ${id}
    UNION
    SELECT keys.id FROM keys JOIN became ON keys.rotated_from = became.id
    WHERE keys.rotated_by IS NULL OR keys.rotated_by = keys.rotated_from
  ) SELECT id FROM became)`;

/** Whether the worker has a usable key that is at least as new as this one. */
async function hasNewerKey(env: Env, { workerId, createdAt }: KeyRow, now: number): Promise<boolean> {
  const found = await openDatabase(env)
    .select({ id: keys.id })
    .from(keys)
    .where(and(eq(keys.workerId, workerId ?? ''), gte(keys.createdAt, createdAt), isUsableRow('keys', now)))
    .get();
  return found !== undefined;
}
