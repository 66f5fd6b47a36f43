/** Compares the load of the projects with a count of the builds. */

/** Rows of `project_load` that differ from a count of the builds. A row without builds is no difference. */
export async function wrongLoads(database: D1Database): Promise<unknown[]> {
  const counted = `SELECT project_id, trusted, pool, platform, sum(status = 'queued') AS queued, sum(status != 'queued') AS active
    FROM builds WHERE status IN ('queued', 'assigned', 'building') GROUP BY 1, 2, 3, 4`;
  const kept = `SELECT project_id, trusted, pool, platform, queued, active FROM project_load
    WHERE queued != 0 OR active != 0`;
  const [missing, wrong] = await database.batch([
    database.prepare(`${counted} EXCEPT ${kept}`),
    database.prepare(`${kept} EXCEPT ${counted}`),
  ]);
  return [...missing!.results, ...wrong!.results];
}
