/**
 * Makes, finds and lists API keys.
 *
 * Invariant: only the SHA-256 of a secret is stored, and a key is found by that hash alone. A secret has 256
 * random bits, so the time that a lookup takes tells an attacker nothing. Its prefix is for people and for
 * scanners of leaked secrets.
 *
 * The first admin key is the deployment's secret ADMIN_KEY (id `admin`). It has no row and is never listed.
 * `wrangler secret put ADMIN_KEY` changes it.
 *
 * Owns the table `keys` together with key-rotation.ts and key-revocation.ts. Three others write to it with a
 * statement of this module in their own batch: an enrolment with {@link keyInsertion}, the removal of a
 * worker with {@link revocationOfWorkersKeys}, and the deletion of a project with {@link withoutProject}.
 */
import { waitUntil } from 'cloudflare:workers';
import { and, desc, eq, isNotNull, isNull, lt, or, type SQL, sql } from 'drizzle-orm';
import { type KeyView, type Rights, SCOPES, type Scope } from '#contract';
import { randomText, sha256, sha256Hex, toBytes } from '../bytes.ts';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { newId } from '../ids.ts';
import { isNotRevoked } from '../projects/conditions.ts';
import { ensurePools } from '../projects/pools.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { keys } from '../schema/index.ts';
import { iso, isoOrNull } from '../times.ts';
import { type Holder, mayManage, NO_RIGHTS, parseRights, poolsForFormerRelease, RIGHTS_TO_ALL } from './rights.ts';

/** The key of a caller. `workerId` is set exactly for keys of scope `worker`. */
export interface AuthenticatedKey {
  id: string;
  /** The first key of the lineage: this one, or the root of the key that it replaced. */
  rootId: string;
  name: string;
  scope: Scope;
  workerId: string | null;
  rights: Rights;
  /** Null for ADMIN_KEY, because only the deployment knows. */
  createdAt: number | null;
  expiresAt: number | null;
}

export interface KeySpec {
  name: string;
  scope: Scope;
  /** The worker that the key acts for. Exactly scope `worker` needs it. */
  workerId?: string | null;
  /** By default a worker's key has no rights, and another key has all rights. */
  rights?: Rights;
  expiresAt?: number | null;
}

export type KeyRow = typeof keys.$inferSelect;

interface NewKey {
  row: KeyRow;
  /** Shown once, in the answer to the request for the key. */
  secret: string;
}

export const ADMIN_KEY_ID = 'admin';
const ADMIN_KEY: AuthenticatedKey = {
  id: ADMIN_KEY_ID,
  rootId: ADMIN_KEY_ID,
  name: 'ADMIN_KEY',
  scope: 'admin',
  workerId: null,
  rights: RIGHTS_TO_ALL,
  createdAt: null,
  expiresAt: null,
};
/** The last use is written at most this often: one row an hour for a key that is used all the time. */
const LAST_USED_EVERY_MS = 3_600_000;
const LISTED_MAX = 1_000;
/** A shorter ADMIN_KEY is refused, because it could be guessed. */
const ADMIN_KEY_MIN_CHARS = 16;
/** The form of every key that {@link newKey} makes. Anything else is refused without asking D1. */
const SECRET = new RegExp(`^tb_(${SCOPES.join('|')})_[A-Za-z0-9_-]{43}$`);

/** Makes a key that is not stored yet. Insert `row`, then hand out `secret`. */
export async function newKey({ name, scope, workerId, expiresAt, ...spec }: KeySpec, now: number): Promise<NewKey> {
  const rights = spec.rights ?? (scope === 'worker' ? NO_RIGHTS : RIGHTS_TO_ALL);
  const secret = `tb_${scope}_${randomText(32)}`;
  const id = newId('key', now);
  return {
    secret,
    row: {
      id,
      hash: await sha256Hex(secret),
      name,
      scope,
      workerId: workerId ?? null,
      rights: JSON.stringify(rights),
      pools: poolsForFormerRelease({ scope, rights }),
      createdAt: now,
      lastUsedAt: null,
      expiresAt: expiresAt ?? null,
      revokedAt: null,
      rotatedFrom: null,
      rotatedBy: null,
      rootId: id,
      overlapEndsAt: null,
    },
  };
}

/** The statement that stores a new key in the batch of another owner, if `condition` holds. */
export const keyInsertion = (db: Database, row: KeyRow, condition: SQL) => insertIf(db, keys, row, condition);

/** The statement that revokes all keys of a worker in the batch of another owner. */
export const revocationOfWorkersKeys = (db: Database, workerId: string, now: number) =>
  db
    .update(keys)
    .set({ revokedAt: now })
    .where(and(eq(keys.workerId, workerId), isNull(keys.revokedAt)));

/**
 * The statement that takes a project from the rights of all keys, in the batch of another owner, if
 * `condition` holds. A key that reached only this project then reaches nothing. A key of all projects stays
 * as it is.
 */
export const withoutProject = (db: Database, projectId: string, condition: SQL) => {
  // A worker's key of the former release has no JSON there.
  const named = sql`json_each(CASE WHEN json_valid(${keys.rights}) THEN ${keys.rights} ELSE '{}' END, '$.projects')`;
  return db
    .update(keys)
    .set({
      rights: sql`json_set(${keys.rights}, '$.projects', json((
        SELECT json_group_array(value) FROM ${named} WHERE value != ${projectId})))`,
    })
    .where(and(sql`EXISTS (SELECT 1 FROM ${named} WHERE value = ${projectId})`, condition));
};

export async function createKey(env: Env, spec: KeySpec, now: number): Promise<{ key: KeyView; secret: string }> {
  const { row, secret } = await newKey(spec, now);
  await openDatabase(env).insert(keys).values(row);
  return { key: viewKey(row), secret };
}

/**
 * As {@link createKey}, unless a project of the key was deleted at this moment. Refused: `project_deleted`.
 */
export async function createKeyIfLive(
  env: Env,
  spec: KeySpec & { rights: Rights },
  { newPools, by }: { newPools: readonly string[]; by: string },
  now: number,
): Promise<{ ok: true; key: KeyView; secret: string } | Refusal> {
  const { row, secret } = await newKey(spec, now);
  const db = openDatabase(env);
  const named = spec.rights.projects === '*' ? [] : spec.rights.projects;
  const areLive = sql`NOT EXISTS (SELECT 1 FROM projects
    WHERE id IN (SELECT value FROM json_each(${JSON.stringify(named)})) AND deleted_at IS NOT NULL)`;
  const [inserted] = await db.batch([
    keyInsertion(db, row, sql`${areLive} AND ${isNotRevoked(by)}`),
    ensurePools(db, newPools, now),
  ]);
  return inserted.meta.changes > 0
    ? { ok: true, key: viewKey(row), secret }
    : refusal(
        'project_deleted',
        'projects: one of them was deleted, or your own key was revoked, at this moment; no key was made',
      );
}

/** Finds the key with this secret. Null if it is unknown, revoked or expired. */
export async function findKey(env: Env, secret: string, now: number): Promise<AuthenticatedKey | null> {
  if (await isAdminKey(env, secret)) return ADMIN_KEY;
  if (!SECRET.test(secret)) return null;
  const db = openDatabase(env);
  const row = await db
    .select()
    .from(keys)
    .where(eq(keys.hash, await sha256Hex(secret)))
    .get();
  if (!row || !(await isUsable(env, row, now))) return null;
  if (row.lastUsedAt === null || row.lastUsedAt <= now - LAST_USED_EVERY_MS) {
    const noted = noteUse(env, row.id, now);
    // The first use of a new key is awaited, because it ends the old one.
    if (row.lastUsedAt === null && row.rotatedFrom !== null) await noted;
    else waitUntil(noted);
  }
  const { id, name, scope, workerId, createdAt } = row;
  const rights = parseRights(row.rights);
  return { id, rootId: await rootOf(env, row), name, scope, workerId, rights, createdAt, expiresAt: endOf(row) };
}

/**
 * The id of the first key of the lineage. The former release makes keys without this id, so this function
 * follows its rotations back to the first key.
 */
export async function rootOf(env: Env, { id, rootId, rotatedFrom }: KeyRow): Promise<string> {
  if (rootId !== null) return rootId;
  if (rotatedFrom === null) return id;
  const earlier = await openDatabase(env).select().from(keys).where(eq(keys.id, rotatedFrom)).get();
  return earlier ? rootOf(env, earlier) : rotatedFrom;
}

/** The keys that `by` may manage, newest first, also those that are revoked or expired. */
export async function listKeys(env: Env, by: Holder): Promise<KeyView[]> {
  const rows = await openDatabase(env)
    .select()
    .from(keys)
    .where(isManagedBy(by))
    .orderBy(desc(keys.createdAt), desc(keys.id))
    .limit(LISTED_MAX);
  return rows.filter((row) => mayManage(by, holderOf(row))).map(viewKey);
}

/** The key of this id, if `by` may manage it. */
export async function findManagedKey(env: Env, by: Holder, id: string): Promise<KeyRow | undefined> {
  const row = await openDatabase(env).select().from(keys).where(eq(keys.id, id)).get();
  return row && mayManage(by, holderOf(row)) ? row : undefined;
}

/** The part of {@link mayManage} that SQL can check. Keys of other projects then take no room in the list. */
const isManagedBy = (by: Holder): SQL | undefined =>
  by.scope === 'admin' || by.rights.projects === '*'
    ? undefined
    : sql`CASE WHEN json_valid(${keys.rights}) THEN json_type(${keys.rights}, '$.projects') = 'array'
        AND NOT EXISTS (SELECT 1 FROM json_each(${keys.rights}, '$.projects') AS its
          WHERE its.value NOT IN (SELECT value FROM json_each(${JSON.stringify(by.rights.projects)}))) END`;

const holderOf = ({ scope, rights, workerId }: KeyRow): Holder => ({ scope, rights: parseRights(rights), workerId });

export const adminKeyRefusal = refusal(
  'invalid_request',
  'id: the key "admin" is the secret ADMIN_KEY of the deployment; change it with `wrangler secret put ADMIN_KEY`',
);

async function isAdminKey(env: Env, secret: string): Promise<boolean> {
  const adminKey = env.ADMIN_KEY ?? '';
  if (adminKey.length < ADMIN_KEY_MIN_CHARS) return false;
  const [expected, given] = await Promise.all([sha256(toBytes(adminKey)), sha256(toBytes(secret))]);
  return crypto.subtle.timingSafeEqual(expected, given);
}

/** Whether the key opens anything now: it is not revoked, expired, or replaced after a rotation. */
export const isUsable = async (env: Env, row: KeyRow, now: number): Promise<boolean> =>
  isLive(row, now) && !(await isReplaced(env, row, now));

/** The same as a condition. `alias`: what the statement calls the row of `keys`. */
export function isUsableRow(alias: string, now: number): SQL {
  const row = sql.identifier(alias);
  return sql`(${row}.revoked_at IS NULL AND (${row}.expires_at IS NULL OR ${row}.expires_at > ${now})
    AND (${row}.overlap_ends_at IS NULL OR ${row}.overlap_ends_at > ${now} OR NOT EXISTS (
      SELECT 1 FROM keys AS newer WHERE newer.rotated_from = ${row}.id AND newer.last_used_at IS NOT NULL)))`;
}

const isLive = (row: KeyRow, now: number) => row.revokedAt === null && (row.expiresAt === null || now < row.expiresAt);

async function isReplaced(env: Env, { id, overlapEndsAt }: KeyRow, now: number): Promise<boolean> {
  if (overlapEndsAt === null || now < overlapEndsAt) return false;
  const used = and(eq(keys.rotatedFrom, id), isNotNull(keys.lastUsedAt));
  return (await openDatabase(env).select({ id: keys.id }).from(keys).where(used).get()) !== undefined;
}

/** When the key ends, or null. A rotated key may work longer, until somebody uses the new key. */
const endOf = ({ expiresAt, overlapEndsAt }: KeyRow): number | null =>
  expiresAt === null || overlapEndsAt === null ? (expiresAt ?? overlapEndsAt) : Math.min(expiresAt, overlapEndsAt);

/** Never rejects, because a request must not fail for it. The next use is noted again. */
async function noteUse(env: Env, id: string, now: number): Promise<void> {
  const due = or(isNull(keys.lastUsedAt), lt(keys.lastUsedAt, now - LAST_USED_EVERY_MS + 1));
  const used = openDatabase(env)
    .update(keys)
    .set({ lastUsedAt: now })
    .where(and(eq(keys.id, id), due));
  await used.run().catch((error: unknown) => {
    console.error(JSON.stringify({ event: 'key_use_not_noted', key: id, error: String(error) }));
  });
}

export const viewKey = (row: KeyRow): KeyView => {
  const rights = parseRights(row.rights);
  return {
    id: row.id,
    name: row.name,
    scope: row.scope,
    workerId: row.workerId,
    rights,
    pools: rights.pools === '*' ? null : rights.pools,
    createdAt: iso(row.createdAt),
    lastUsedAt: isoOrNull(row.lastUsedAt),
    expiresAt: isoOrNull(endOf(row)),
    revokedAt: isoOrNull(row.revokedAt),
    rotatedFrom: row.rotatedFrom,
  };
};
