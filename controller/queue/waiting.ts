/**
 * Says in words what a build that does not build yet is waiting for. Reads only.
 *
 * Invariant: names, ids and limits of other projects are never said. Their builds are only counted.
 */
import { and, eq, sql } from 'drizzle-orm';
import type { Live } from '#contract';
import type { BuildRow } from '../builds/rows.ts';
import { openDatabase } from '../database.ts';
import { builds } from '../schema/index.ts';
import { keyWaitedFor } from '../secrets/openable-inputs.ts';
import { offlineAfterMs } from '../settings.ts';
import { iso } from '../times.ts';
import { hasFreeSlot, isServed, readOnlineStandings, type Standing } from './able-workers.ts';
import { ACTIVE_OF_PART } from './limits.ts';
import { isMetBy, metBy, wordsForImage } from './requirements.ts';
import { othersAhead } from './turns.ts';

const NAMED_MAX = 5;

/** Builds of one project are counted up to this number, so that a long queue costs no more. */
const COUNTED_MAX = 1_000;

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
  const missingKey = await keyWaitedFor(env, row);
  if (missingKey) return missingKey;
  const online = await readOnlineStandings(env, [row.pool], now - offlineAfterMs(workerTimeoutMs), now);
  const ofPlatform = online.filter(({ platforms }) => platforms.includes(row.platform));
  if (ofPlatform.length === 0)
    return (await isServed(env, row.pool))
      ? `a worker of pool ${row.pool} that builds for ${row.platform}: none is online`
      : `a worker of pool ${row.pool}: no worker serves this pool. Is its name right?`;
  const able = ofPlatform.filter((worker) => isMetBy(metBy(worker), row));
  if (able.length === 0)
    return `a worker with its image: no worker of pool ${row.pool} that is online offers ${wordsForImage(row)}`;
  const resumed = able.filter(({ paused }) => !paused);
  if (resumed.length === 0) return `a worker that is not paused; paused: ${names(able)}`;
  const trusted = resumed.filter(({ quarantined }) => !quarantined);
  if (trusted.length === 0)
    return `a worker that is not in quarantine: run \`expo-worker doctor\` on ${names(resumed)}`;
  const ready = trusted.filter(({ notReady }) => notReady === null);
  const unready = trusted.filter(({ notReady }) => notReady !== null);
  if (ready.length === 0) return `a worker that is ready. ${whyNotReady(unready)}`;
  const { limit, own, others } = await readPlace(env, row);
  if (limit !== null) return `${limit}, with ${own} ahead of it`;
  const full = !ready.some(hasFreeSlot) ? ': all slots are in use' : '';
  const avoided = row.avoidUntil > now && ready.find(({ id }) => id === row.avoidWorkerId);
  const passedOver = avoided
    ? `; worker ${avoided.name} had its last attempt and is passed over until ${iso(row.avoidUntil)} if another is free`
    : '';
  const notReady = unready.length > 0 ? `; not ready: ${whyNotReady(unready)}` : '';
  return `a free worker of pool ${row.pool}, with ${own} and ${others} of other projects ahead of it${full}${passedOver}${notReady}`;
}

/** The limit that its project has reached, and in words how many builds are ahead of it. */
async function readPlace(env: Env, row: BuildRow) {
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
  const kind = row.trusted ? '' : 'untrusted ';
  return {
    limit:
      maxActive !== null && active >= maxActive
        ? `the limit of ${maxActive} active ${kind}build(s) of project ${row.project}`
        : null,
    own: `${counted(ahead)} ${kind}build(s) of its project`,
    others: counted(othersAhead({ active, ahead, queuedAt: row.queuedAt }, others)),
  };
}

const counted = (count: number): string => (count >= COUNTED_MAX ? `${COUNTED_MAX} or more` : String(count));

/** Each worker with the words of its agent. */
const whyNotReady = (workers: Standing[]): string => {
  const named = workers.slice(0, NAMED_MAX).map(({ name, notReady }) => `${name}: ${notReady}`);
  return named.join('; ') + (workers.length > NAMED_MAX ? '; and others' : '');
};

const names = (workers: Standing[]): string => {
  const named = workers.slice(0, NAMED_MAX).map(({ name }) => name);
  return named.join(', ') + (workers.length > NAMED_MAX ? ' and others' : '');
};
