/**
 * How a Mac comes by its worker's key without anybody carrying one: an admin makes a one-time code, `expo-worker init --code`
 * trades it for a key. The one owner of the `enrolments` table.
 * Invariant: a code works once, until it expires, and only its SHA-256 is stored. Of two at once one gets the key, since
 * code and key change in one batch.
 */
import { and, eq, gt, isNull, lt, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import type { Enrolled } from '#contract';
import { newKey } from '../access/keys.ts';
import { randomText, sha256Hex } from '../bytes.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { enrolments, keys, workers } from '../schema.ts';

const KEPT_MS = 30 * 24 * 3_600_000;

/** The caller has seen that the worker exists. Codes made before stay good until they expire. */
export async function createEnrolment(
  env: Env,
  workerId: string,
  validForMinutes: number,
  now: number,
): Promise<{ code: string; workerId: string; expiresAt: string }> {
  const code = `tb_enrol_${randomText(24)}`;
  const expiresAt = now + validForMinutes * 60_000;
  const db = drizzle(env.DB);
  await db.batch([
    db.insert(enrolments).values({ hash: await sha256Hex(code), workerId, createdAt: now, expiresAt }),
    db.delete(enrolments).where(lt(enrolments.expiresAt, now - KEPT_MS)),
  ]);
  return { code, workerId, expiresAt: new Date(expiresAt).toISOString() };
}

/** The new key of the code's worker. `unauthorized` alike for a code that is unknown, used, expired, or of a removed worker. */
export async function enrol(
  env: Env,
  code: string,
  now: number,
): Promise<{ ok: true; enrolled: Enrolled; keyId: string } | Refusal> {
  const db = drizzle(env.DB);
  const hash = await sha256Hex(code);
  const unused = and(eq(enrolments.hash, hash), isNull(enrolments.keyId), gt(enrolments.expiresAt, now));
  const found = await db
    .select({ id: workers.id, name: workers.name })
    .from(enrolments)
    .innerJoin(workers, and(eq(workers.id, enrolments.workerId), isNull(workers.removedAt)))
    .where(unused)
    .get();
  const refused = refusal(
    'unauthorized',
    'code: it is unknown, was used already, or has expired; ask an admin for a new one',
  );
  if (!found) return refused;
  const { row, secret } = await newKey({ name: found.name, scope: 'worker', workerId: found.id }, now);
  const column = <T>(value: T, name: string) => sql<T>`${value}`.as(name);
  const [taken] = await db.batch([
    db.update(enrolments).set({ keyId: row.id }).where(unused),
    db.insert(keys).select(
      db
        .select({
          id: column(row.id, 'id'),
          hash: column(row.hash, 'hash'),
          name: column(row.name, 'name'),
          scope: column(row.scope, 'scope'),
          workerId: column(row.workerId, 'worker_id'),
          pools: column(null, 'pools'),
          createdAt: column(row.createdAt, 'created_at'),
          lastUsedAt: column(null, 'last_used_at'),
          expiresAt: column(null, 'expires_at'),
          revokedAt: column(null, 'revoked_at'),
          rotatedFrom: column(null, 'rotated_from'),
          overlapEndsAt: column(null, 'overlap_ends_at'),
        })
        .from(enrolments)
        .where(and(eq(enrolments.hash, hash), eq(enrolments.keyId, row.id))),
    ),
  ]);
  if (taken.meta.changes === 0) return refused;
  return { ok: true, enrolled: { workerId: found.id, name: found.name, key: secret }, keyId: row.id };
}
