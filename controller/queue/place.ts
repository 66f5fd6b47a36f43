/** Reads how many builds come before a queued one, if no active build ended meanwhile. Reads only. */
import { and, eq, sql } from 'drizzle-orm';
import type { BuildRow } from '../builds/rows.ts';
import { openDatabase } from '../database.ts';
import { builds } from '../schema/index.ts';
import { ACTIVE_OF_PART } from './project-room.ts';
import { aheadOf } from './turns.ts';

/** Builds of one project are counted up to this number, so that a long queue costs no more. */
export const COUNTED_MAX = 1_000;

/** The first builds of a project that wait at the same place, of one trust. */
export interface Share {
  projectId: string;
  trusted: number;
  count: number;
}

export interface Place {
  /** How many builds of its project and trust are active on the whole farm, and how many may be. */
  active: number;
  maxActive: number | null;
  /** How many builds of its project and trust, and of others, are ahead of it. */
  own: number;
  others: number;
  /** The builds that are ahead of it. */
  shares: Share[];
}

export async function readPlace(env: Env, row: BuildRow): Promise<Place> {
  const db = openDatabase(env);
  /** The queued builds of a part that `which` selects, counted in the index. */
  const countOf = (part: 'builds' | 'part', which: string) => sql<number>`(SELECT count(*) FROM (
    SELECT 1 FROM builds AS other INDEXED BY builds_queue
    WHERE other.status = 'queued' AND other.pool = ${row.pool} AND other.platform = ${row.platform}
      AND other.project_id = ${sql.raw(part)}.project_id AND other.trusted = ${sql.raw(part)}.trusted
      AND ${sql.raw(which)} LIMIT ${COUNTED_MAX}))`;
  const limitOf = (part: 'builds' | 'part') =>
    sql<number | null>`(SELECT max_active FROM projects WHERE projects.id = ${sql.raw(part)}.project_id)`;
  const [[mine], others] = await db.batch([
    db
      .select({
        active: ACTIVE_OF_PART,
        maxActive: limitOf('builds'),
        ahead: countOf('builds', '(other.queue_rank, other.queued_at) < (builds.queue_rank, builds.queued_at)'),
      })
      .from(builds)
      .where(eq(builds.id, row.id)),
    db
      .select({
        projectId: sql<string>`part.project_id`,
        trusted: sql<number>`part.trusted`,
        active: sql<number>`(SELECT sum(active) FROM project_load AS whole
          WHERE whole.project_id = part.project_id AND whole.trusted = part.trusted)`,
        before: countOf('part', 'other.queue_rank < builds.queue_rank'),
        level: countOf('part', 'other.queue_rank = builds.queue_rank'),
        oldestAt: sql<number>`coalesce((SELECT queued_at FROM builds AS other INDEXED BY builds_queue
          WHERE other.status = 'queued' AND other.pool = ${row.pool} AND other.platform = ${row.platform}
            AND other.project_id = part.project_id AND other.trusted = part.trusted
            AND other.queue_rank = builds.queue_rank ORDER BY other.queued_at LIMIT 1), 0)`,
        maxActive: limitOf('part'),
      })
      .from(builds)
      .innerJoin(
        sql`project_load AS part`,
        sql`part.pool = builds.pool AND part.platform = builds.platform AND part.queued > 0
          AND (part.project_id, part.trusted) != (builds.project_id, builds.trusted)`,
      )
      .where(and(eq(builds.id, row.id))),
  ]);
  const { active, maxActive, ahead } = mine ?? { active: 0, maxActive: null, ahead: 0 };
  const turn = { active, ahead, queuedAt: row.queuedAt };
  const shares: Share[] = others.map((part) => {
    const { projectId, trusted } = part;
    return { projectId, trusted, count: aheadOf(turn, part) };
  });
  const own: Share = { projectId: row.projectId, trusted: Number(row.trusted), count: ahead };
  return {
    ...{ active, maxActive, own: ahead },
    others: shares.reduce((sum, { count }) => sum + count, 0),
    shares: [own, ...shares].filter(({ count }) => count > 0),
  };
}
