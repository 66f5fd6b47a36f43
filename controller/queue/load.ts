/**
 * Counts anew how many builds of each project wait and are active.
 *
 * Invariant: `project_load` equals a count of `builds`. Triggers of migration 0005 ensure this, in the batch
 * of each change. The recount would correct rows after a fault in the triggers.
 *
 * Owns, beside those triggers, the rows of `project_load`.
 */

import { UNFINISHED_STATUSES } from '../builds/transitions.ts';

const UNFINISHED = `status IN (${UNFINISHED_STATUSES.map((status) => `'${status}'`).join(', ')})`;

/**
 * Corrects `project_load`, and removes the rows of projects without queued or active builds. One batch, so no
 * build changes meanwhile. Answers how many rows were wrong.
 */
export async function recountLoad(env: Pick<Env, 'DB'>): Promise<number> {
  const [counted, missing] = await env.DB.batch([
    env.DB.prepare(
      `INSERT INTO project_load (project_id, trusted, pool, platform, queued, active)
       SELECT project_id, trusted, pool, platform, sum(status = 'queued'), sum(status != 'queued')
       FROM builds INDEXED BY builds_queue WHERE ${UNFINISHED} GROUP BY 1, 2, 3, 4
       ON CONFLICT DO UPDATE SET queued = excluded.queued, active = excluded.active
       WHERE queued != excluded.queued OR active != excluded.active`,
    ),
    env.DB.prepare(
      `UPDATE project_load SET queued = 0, active = 0 WHERE (queued != 0 OR active != 0) AND NOT EXISTS (
         SELECT 1 FROM builds INDEXED BY builds_queue
         WHERE ${UNFINISHED} AND builds.pool = project_load.pool AND builds.platform = project_load.platform
           AND builds.project_id = project_load.project_id AND builds.trusted = project_load.trusted)`,
    ),
    env.DB.prepare('DELETE FROM project_load WHERE queued = 0 AND active = 0'),
  ]);
  return counted!.meta.changes + missing!.meta.changes;
}
