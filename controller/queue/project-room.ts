/** Says in SQL whether a build may become active, by the limits of its project. Pure. */
import { type SQL, sql } from 'drizzle-orm';

/**
 * How many active builds count together with a row of `builds`: those of its project on the whole farm. The
 * untrusted builds of a project count as a project of their own.
 */
export const ACTIVE_OF_PART: SQL<number> = sql`(
  SELECT coalesce(sum(active), 0) FROM project_load
  WHERE project_load.project_id = builds.project_id AND project_load.trusted = builds.trusted)`;

/**
 * Whether the project of a row of `builds` lets one more build run. A build whose project the sweep has not
 * found yet has no limit.
 */
export const PROJECT_HAS_ROOM: SQL = sql`NOT EXISTS (
  SELECT 1 FROM projects WHERE projects.id = builds.project_id
    AND (projects.deleted_at IS NOT NULL OR projects.max_active <= ${ACTIVE_OF_PART}))`;
