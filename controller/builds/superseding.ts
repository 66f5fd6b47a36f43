/**
 * Cancels the older builds of a group when a newer one is added.
 *
 * Invariant: of the unfinished builds of a group that ask for it, the newest stays, regardless of the order
 * in which they are added. Builds are compared by the time of creation, then by id. The statement is in the
 * batch that adds the newer build, so a repetition of its request cancels nothing more.
 *
 * Adds rows to `outbox`.
 */
import { type SQL, sql } from 'drizzle-orm';
import type { Rights } from '#contract';
import type { Database } from '../database.ts';
import { outbox } from '../schema/index.ts';

interface Newer {
  id: string;
  createdAt: number;
}

/** The most builds that one submission cancels. The next submission of the group cancels others. */
const CANCELLED_MAX = 30;

/** Only this many newest builds of a group are considered, because a branch may have thousands. */
const LOOKED_AT_MAX = 500;

/**
 * Gives the outbox the builds that build `id` supersedes. They are the older unfinished builds of its group,
 * of the same project and trust, in the pools of the key. If a newer one exists already, the build itself is
 * superseded.
 *
 * @param applied holds if the batch has added the build
 */
export const supersedingOf = (
  db: Database,
  { id, createdAt }: Newer,
  { pools }: Pick<Rights, 'pools'>,
  applied: SQL,
) => {
  const isInPools =
    pools === '*' ? sql`TRUE` : sql`other.pool IN (SELECT value FROM json_each(${JSON.stringify(pools)}))`;
  const isNewer = sql`(other.created_at, other.id) > (newer.created_at, newer.id)`;
  // Two halves, because they differ in who supersedes whom.
  return db.insert(outbox).select(sql`
    WITH newer AS (SELECT * FROM builds WHERE id = ${id}),
    unfinished AS (
      SELECT other.* FROM newer, (
        SELECT builds.* FROM builds INDEXED BY builds_group, newer AS of
        WHERE builds.project_id = of.project_id AND builds.group_name = of.group_name AND builds.group_name IS NOT NULL
          AND builds.trusted = of.trusted
        ORDER BY builds.created_at DESC LIMIT ${LOOKED_AT_MAX}) AS other
      WHERE other.id != newer.id AND other.status IN ('queued', 'assigned', 'building') AND ${isInPools})
    SELECT NULL, 'cancel_build', other.id, other.attempt, NULL, newer.id, newer.project_id, ${createdAt}, 0
      FROM newer, unfinished AS other WHERE NOT ${isNewer} AND ${applied}
    UNION ALL
    SELECT NULL, 'cancel_build', newer.id, 0, NULL,
      (SELECT other.id FROM unfinished AS other WHERE ${isNewer} ORDER BY other.created_at DESC, other.id DESC LIMIT 1),
      newer.project_id, ${createdAt}, 0
      FROM newer WHERE EXISTS (SELECT 1 FROM unfinished AS other WHERE ${isNewer}) AND ${applied}
    LIMIT ${CANCELLED_MAX}`);
};
