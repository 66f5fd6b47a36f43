/**
 * Checks once more, when a requested thing is done, that the key that requested it still has the right. A
 * build may wait for a day, and its key may have been revoked meanwhile.
 */
import { and, desc, eq, isNull, ne } from 'drizzle-orm';
import type { Grant } from '#contract';
import { openDatabase } from '../database.ts';
import { keys } from '../schema/index.ts';
import { ADMIN_KEY_ID, isUsable, type KeyRow } from './keys.ts';
import { may, parseRights, RIGHTS_TO_ALL, type Thing } from './rights.ts';

/**
 * Null if the key still has the right. Otherwise says why not, as the end of "the key that requested it …".
 * Once a rotated key has ended, the newest key of its lineage decides. A revoked key has no rights.
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

/** Also said of a key that never had the right. */
export const HAS_LOST_RIGHT = 'has lost the right to them';
