/** Says in words what a build that does not build yet is waiting for. Reads only. */
import { and, eq, gt, inArray, isNull, sql } from 'drizzle-orm';
import type { Live } from '#contract';
import { openDatabase } from '../database.ts';
import { builds, workers } from '../schema.ts';
import { offlineAfterMs } from '../settings.ts';
import { iso } from '../times.ts';
import type { BuildRow } from './rows.ts';

/** Null for a build that builds or has ended. */
export async function waitingFor(
  env: Env,
  row: BuildRow,
  live: Live | null,
  workerTimeoutMs: number,
  now: number,
): Promise<string | null> {
  if (row.status === 'assigned') return live?.stage === 'checking' ? 'the health checks of its VM' : 'its VM to boot';
  if (row.status !== 'queued') return null;
  if (row.notBefore > now) return `the VM of its lost attempt, which may still run until ${iso(row.notBefore)}`;
  const db = openDatabase(env);
  const online = await db
    .select({ platforms: workers.platforms, paused: workers.paused })
    .from(workers)
    .where(
      and(
        eq(workers.pool, row.pool),
        isNull(workers.removedAt),
        gt(workers.lastSeen, now - offlineAfterMs(workerTimeoutMs)),
      ),
    );
  const able = online.filter(({ platforms }) => platforms.includes(row.platform));
  if (able.length === 0) return `a worker of pool ${row.pool} that builds for ${row.platform}: none is online`;
  if (able.every(({ paused }) => paused)) return 'a worker that is not paused';
  const [ahead] = await db
    .select({ count: sql<number>`count(*)` })
    .from(builds)
    .where(
      and(
        eq(builds.status, 'queued'),
        eq(builds.pool, row.pool),
        inArray(builds.platform, [row.platform]),
        sql`(${builds.queueRank}, ${builds.queuedAt}) < (${row.queueRank}, ${row.queuedAt})`,
      ),
    );
  return `a free worker, with ${ahead?.count ?? 0} build(s) ahead of it`;
}
