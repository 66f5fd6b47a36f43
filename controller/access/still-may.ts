/**
 * Asks again whether the key that began something still may, at the moment when the thing is done. A build
 * may wait for a day, and its key may have been revoked meanwhile.
 */
import { and, desc, eq, isNull, ne } from 'drizzle-orm';
import type { Grant } from '#contract';
import { openDatabase } from '../database.ts';
import { keys } from '../schema/index.ts';
import { ADMIN_KEY_ID, isUsable, type KeyRow } from './keys.ts';
import { may, parseRights, RIGHTS_TO_ALL, type Thing } from './rights.ts';

/**
 * Null if it may. Otherwise says why not, as the end of "the key that requested it …". A rotated key speaks
 * by the newest key of its lineage, once it has ended itself. A revoked one speaks no more.
 */
export async function whyNoMore(
  env: Env,
  { createdByKey, createdByRoot }: { createdByKey: string | null; createdByRoot: string | null },
  right: Grant,
  thing: Required<Pick<Thing, 'projectId' | 'pool' | 'trusted'>>,
  now: number,
): Promise<string | null> {
  const db = openDatabase(env);
  const id = createdByKey ?? '';
  // The deployment's own key has no row.
  if (id === ADMIN_KEY_ID) return may({ scope: 'admin', rights: RIGHTS_TO_ALL }, right, thing) ? null : HAS_LOST_RIGHT;
  const own = await db.select().from(keys).where(eq(keys.id, id)).get();
  if (!own || own.revokedAt !== null) return 'was revoked';
  const isAllowed = ({ scope, rights }: KeyRow) => may({ scope, rights: parseRights(rights) }, right, thing);
  if (await isUsable(env, own, now)) return isAllowed(own) ? null : HAS_LOST_RIGHT;
  const newest = await db
    .select()
    .from(keys)
    .where(and(eq(keys.rootId, createdByRoot ?? id), ne(keys.id, id), isNull(keys.revokedAt)))
    .orderBy(desc(keys.createdAt), desc(keys.id))
    .limit(1)
    .get();
  if (!newest || !(await isUsable(env, newest, now))) return 'has expired';
  return isAllowed(newest) ? null : HAS_LOST_RIGHT;
}

/** Never had it, or has it no more. */
export const HAS_LOST_RIGHT = 'has lost the right to them';
