/**
 * Makes one-time codes that turn into a worker's key, so that nobody has to carry the key to the Mac. An
 * admin makes a code, and `expo-worker init --code` trades it for the key.
 *
 * Invariant: a code works once, until it expires, and only its SHA-256 is stored. Of two agents that trade it
 * at once one gets the key, because code and key change in one batch.
 *
 * Owns the table `enrolments`.
 */
import { and, eq, gt, isNull, lt, sql } from 'drizzle-orm';
import { DAY_MS, type Enrolled } from '#contract';
import { keyInsertion, newKey } from '../access/keys.ts';
import { randomText, sha256Hex } from '../bytes.ts';
import { openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { enrolments, workers } from '../schema/index.ts';
import { iso } from '../times.ts';

/** The form of every code that is made here. Anything else is refused without asking D1. */
const CODE = /^tb_enrol_[A-Za-z0-9_-]{32}$/;

/** An expired code is kept this long, so that its use can still be explained. */
const KEPT_MS = 30 * DAY_MS;

/** The worker must exist. Earlier codes of the worker stay valid until they expire. */
export async function createEnrolment(
  env: Env,
  workerId: string,
  validForMinutes: number,
  now: number,
): Promise<{ code: string; workerId: string; expiresAt: string }> {
  const code = `tb_enrol_${randomText(24)}`;
  const expiresAt = now + validForMinutes * 60_000;
  const db = openDatabase(env);
  await db.batch([
    db.insert(enrolments).values({ hash: await sha256Hex(code), workerId, createdAt: now, expiresAt }),
    db.delete(enrolments).where(lt(enrolments.expiresAt, now - KEPT_MS)),
  ]);
  return { code, workerId, expiresAt: iso(expiresAt) };
}

/**
 * Trades a code for a new key of its worker. Refused: `unauthorized`, in the same words for a code that is
 * unknown, used, expired, or of a removed worker.
 */
export async function enrol(
  env: Env,
  code: string,
  now: number,
): Promise<{ ok: true; enrolled: Enrolled; keyId: string } | Refusal> {
  const refused = refusal(
    'unauthorized',
    'code: it is unknown, was used already, or has expired; ask an admin for a new one',
  );
  if (!CODE.test(code)) return refused;
  const db = openDatabase(env);
  const hash = await sha256Hex(code);
  const unused = and(eq(enrolments.hash, hash), isNull(enrolments.keyId), gt(enrolments.expiresAt, now));
  const found = await db
    .select({ id: workers.id, name: workers.name })
    .from(enrolments)
    .innerJoin(workers, and(eq(workers.id, enrolments.workerId), isNull(workers.removedAt)))
    .where(unused)
    .get();
  if (!found) return refused;
  const { row, secret } = await newKey({ name: found.name, scope: 'worker', workerId: found.id }, now);
  const codeIsTaken = sql`EXISTS (SELECT 1 FROM enrolments WHERE hash = ${hash} AND key_id = ${row.id})`;
  const [taken] = await db.batch([
    db.update(enrolments).set({ keyId: row.id }).where(unused),
    keyInsertion(db, row, codeIsTaken),
  ]);
  if (taken.meta.changes === 0) return refused;
  return { ok: true, enrolled: { workerId: found.id, name: found.name, key: secret }, keyId: row.id };
}
