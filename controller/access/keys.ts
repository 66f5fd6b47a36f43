/**
 * API keys: made, found, rotated, revoked. Owns the `keys` table; removing a worker revokes its keys in that batch (workers.ts).
 * Invariant: only the SHA-256 of a secret is stored, and the secret has 256 random bits: it is found by its hash alone, and
 * the time that a lookup takes tells nothing of use. The prefix is for people and for scanners of leaked secrets.
 *
 * Rotating locks nobody out: the answer with the new key may be lost, so the old key ends only when its overlap has passed
 * and the new one has been used.
 *
 * The first admin key is the deployment's secret ADMIN_KEY itself (id `admin`): no row, never listed, changed by
 * `wrangler secret put ADMIN_KEY`.
 */
import { waitUntil } from 'cloudflare:workers';
import { and, desc, eq, isNotNull, isNull, lt, or, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import type { KeyView } from '#contract';
import { randomText, sha256, sha256Hex, toBytes } from '../bytes.ts';
import { newId } from '../ids.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { keys } from '../schema.ts';

export type Scope = KeyView['scope'];

/** Who is asking. `workerId` is set for keys of scope `worker`, and only for them. */
export interface AuthenticatedKey {
  id: string;
  name: string;
  scope: Scope;
  workerId: string | null;
  /** Null: the builds of all pools. Set for some keys of scope `submit`. */
  pools: readonly string[] | null;
  /** Null for ADMIN_KEY: the deployment knows. */
  createdAt: number | null;
  expiresAt: number | null;
}

export interface KeySpec {
  name: string;
  scope: Scope;
  /** The worker that the key acts for: needed by, and only for, scope `worker`. */
  workerId?: string | null;
  /** For scope `submit`: only builds of these pools. */
  pools?: string[] | null;
  expiresAt?: number | null;
}

type KeyRow = typeof keys.$inferSelect;

export interface NewKey {
  row: KeyRow;
  /** Shown once, to whoever asked for the key. */
  secret: string;
}

/** Called when a worker's key was revoked: ends the attempts of that worker. */
export type OnWorkerKeyRevoked = (env: Env, workerId: string, now: number) => Promise<void>;

export const ADMIN_KEY_ID = 'admin';
const ADMIN_KEY: AuthenticatedKey = {
  id: ADMIN_KEY_ID,
  name: 'ADMIN_KEY',
  scope: 'admin',
  workerId: null,
  pools: null,
  createdAt: null,
  expiresAt: null,
};
export const ROTATION_OVERLAP_MS = 24 * 3_600_000;
const LAST_USED_EVERY_MS = 3_600_000;
const LISTED_MAX = 1_000;
/** A shorter ADMIN_KEY opens nothing: it could be guessed. */
const ADMIN_KEY_MIN_CHARS = 16;
const SECRET_MAX_CHARS = 512;

/** A key that is not stored yet: insert `row` (with the worker's own row, in one batch), then hand out `secret`. */
export async function newKey({ name, scope, workerId, pools, expiresAt }: KeySpec, now: number): Promise<NewKey> {
  const secret = `tb_${scope}_${randomText(32)}`;
  return {
    secret,
    row: {
      id: newId('key', now),
      hash: await sha256Hex(secret),
      name,
      scope,
      workerId: workerId ?? null,
      pools: pools ?? null,
      createdAt: now,
      lastUsedAt: null,
      expiresAt: expiresAt ?? null,
      revokedAt: null,
      rotatedFrom: null,
      overlapEndsAt: null,
    },
  };
}

export async function createKey(env: Env, spec: KeySpec, now: number): Promise<{ key: KeyView; secret: string }> {
  const { row, secret } = await newKey(spec, now);
  await drizzle(env.DB).insert(keys).values(row);
  return { key: toView(row), secret };
}

/** The key with this secret, unless it is unknown, revoked or expired. */
export async function findKey(env: Env, secret: string, now: number): Promise<AuthenticatedKey | null> {
  if (secret.length > SECRET_MAX_CHARS) return null;
  if (await isAdminKey(env, secret)) return ADMIN_KEY;
  const db = drizzle(env.DB);
  const row = await db
    .select()
    .from(keys)
    .where(eq(keys.hash, await sha256Hex(secret)))
    .get();
  if (!row || !isLive(row, now) || (await isReplaced(env, row, now))) return null;
  if (row.lastUsedAt === null || row.lastUsedAt <= now - LAST_USED_EVERY_MS) {
    const noted = noteUse(env, row.id, now);
    // The first use of a new key is what ends the old one.
    if (row.lastUsedAt === null && row.rotatedFrom !== null) await noted;
    else waitUntil(noted);
  }
  const { id, name, scope, workerId, pools, createdAt } = row;
  return { id, name, scope, workerId, pools, createdAt, expiresAt: endOf(row) };
}

/** Whether the key may submit to this pool and see its builds. */
export const mayUsePool = ({ pools }: AuthenticatedKey, pool: string): boolean =>
  pools === null || pools.includes(pool);

/** Newest first, the revoked and the expired among them. */
export async function listKeys(env: Env): Promise<KeyView[]> {
  const rows = await drizzle(env.DB).select().from(keys).orderBy(desc(keys.createdAt), desc(keys.id)).limit(LISTED_MAX);
  return rows.map(toView);
}

/** At once, and for ever. Revoking again answers the same. `not_found`, `invalid_request` for ADMIN_KEY itself. */
export async function revokeKey(
  env: Env,
  id: string,
  now: number,
  onWorkerKeyRevoked: OnWorkerKeyRevoked,
): Promise<{ ok: true; key: KeyView } | Refusal> {
  if (id === ADMIN_KEY_ID) return adminKeyRefusal;
  const row = await drizzle(env.DB)
    .update(keys)
    .set({ revokedAt: sql`coalesce(${keys.revokedAt}, ${now})` })
    .where(eq(keys.id, id))
    .returning()
    .get();
  if (!row) return refusal('not_found', `there is no key ${id}`);
  // On a repetition too: the first call may have died between the two.
  if (row.workerId !== null) await onWorkerKeyRevoked(env, row.workerId, now);
  return { ok: true, key: toView(row) };
}

/**
 * A new key for the same name, scope and worker; the old one works for `overlapMs` more, and on until the new one is used. With 0
 * it ends now, whatever becomes of the answer. A key that would expire lives as long again as the old one was made for.
 * `not_found` if the key is unknown, revoked or expired.
 */
export async function rotateKey(
  env: Env,
  id: string,
  now: number,
  overlapMs: number = ROTATION_OVERLAP_MS,
): Promise<{ ok: true; key: KeyView; secret: string } | Refusal> {
  if (id === ADMIN_KEY_ID) return adminKeyRefusal;
  const db = drizzle(env.DB);
  const gone = refusal('not_found', `there is no key ${id} that is neither revoked nor expired`);
  const old = await db.select().from(keys).where(eq(keys.id, id)).get();
  if (!old || !isLive(old, now) || (await isReplaced(env, old, now))) return gone;

  const expiresAt = old.expiresAt === null ? null : now + Math.max(old.expiresAt - old.createdAt, overlapMs);
  const { row, secret } = await newKey({ ...old, expiresAt }, now);
  // The new row depends on the old one's being live still: a key revoked in this very moment leaves no child.
  const column = <T>(value: T, name: string) => sql<T>`${value}`.as(name);
  const [inserted] = await db.batch([
    db.insert(keys).select(
      db
        .select({
          id: column(row.id, 'id'),
          hash: column(row.hash, 'hash'),
          name: column(row.name, 'name'),
          scope: column(row.scope, 'scope'),
          workerId: column(row.workerId, 'worker_id'),
          pools: column(row.pools && JSON.stringify(row.pools), 'pools'),
          createdAt: column(row.createdAt, 'created_at'),
          lastUsedAt: column(row.lastUsedAt, 'last_used_at'),
          expiresAt: column(row.expiresAt, 'expires_at'),
          revokedAt: column(row.revokedAt, 'revoked_at'),
          rotatedFrom: column(id, 'rotated_from'),
          overlapEndsAt: column(row.overlapEndsAt, 'overlap_ends_at'),
        })
        .from(keys)
        .where(and(eq(keys.id, id), isNull(keys.revokedAt))),
    ),
    db
      .update(keys)
      .set(endsBy(old, now, overlapMs))
      .where(eq(keys.id, id)),
  ]);
  if (inserted.meta.changes === 0) return gone;
  return { ok: true, key: toView({ ...row, rotatedFrom: id }), secret };
}

/** Rotating again does not lengthen an overlap; one that has passed unused begins anew. */
function endsBy({ overlapEndsAt }: KeyRow, now: number, overlapMs: number): Partial<KeyRow> {
  if (overlapMs === 0) return { expiresAt: now };
  const runs = overlapEndsAt !== null && overlapEndsAt > now;
  return { overlapEndsAt: runs ? Math.min(overlapEndsAt, now + overlapMs) : now + overlapMs };
}

const adminKeyRefusal = refusal(
  'invalid_request',
  'id: "admin" is the secret ADMIN_KEY of the deployment; change it with `wrangler secret put ADMIN_KEY`',
);

async function isAdminKey(env: Env, secret: string): Promise<boolean> {
  const adminKey = env.ADMIN_KEY ?? '';
  if (adminKey.length < ADMIN_KEY_MIN_CHARS) return false;
  const [expected, given] = await Promise.all([sha256(toBytes(adminKey)), sha256(toBytes(secret))]);
  return crypto.subtle.timingSafeEqual(expected, given);
}

const isLive = (row: KeyRow, now: number) => row.revokedAt === null && (row.expiresAt === null || now < row.expiresAt);

async function isReplaced(env: Env, { id, overlapEndsAt }: KeyRow, now: number): Promise<boolean> {
  if (overlapEndsAt === null || now < overlapEndsAt) return false;
  const used = and(eq(keys.rotatedFrom, id), isNotNull(keys.lastUsedAt));
  return (await drizzle(env.DB).select({ id: keys.id }).from(keys).where(used).get()) !== undefined;
}

/** When it opens nothing any more, as far as is known. */
const endOf = ({ expiresAt, overlapEndsAt }: KeyRow): number | null =>
  expiresAt === null || overlapEndsAt === null ? (expiresAt ?? overlapEndsAt) : Math.min(expiresAt, overlapEndsAt);

/** Never rejects: whoever used the key is not to suffer for it, and the next use is noted again. */
async function noteUse(env: Env, id: string, now: number): Promise<void> {
  const due = or(isNull(keys.lastUsedAt), lt(keys.lastUsedAt, now - LAST_USED_EVERY_MS + 1));
  const used = drizzle(env.DB)
    .update(keys)
    .set({ lastUsedAt: now })
    .where(and(eq(keys.id, id), due));
  await used.run().catch((error: unknown) => {
    console.error(JSON.stringify({ event: 'key_use_not_noted', key: id, error: String(error) }));
  });
}

const iso = (at: number) => new Date(at).toISOString();
const isoOrNull = (at: number | null) => (at === null ? null : iso(at));

const toView = (row: KeyRow): KeyView => ({
  id: row.id,
  name: row.name,
  scope: row.scope,
  workerId: row.workerId,
  pools: row.pools,
  createdAt: iso(row.createdAt),
  lastUsedAt: isoOrNull(row.lastUsedAt),
  expiresAt: isoOrNull(endOf(row)),
  revokedAt: isoOrNull(row.revokedAt),
  rotatedFrom: row.rotatedFrom,
});
