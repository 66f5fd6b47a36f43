/** Says in words what a build that does not build yet is waiting for. Reads only. */
import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Live } from '#contract';
import { openDatabase } from '../database.ts';
import { builds } from '../schema/index.ts';
import { offlineAfterMs } from '../settings.ts';
import { iso } from '../times.ts';
import { readOnlineStandings, type Standing } from './able-workers.ts';
import type { BuildRow } from './rows.ts';

const NAMED_MAX = 5;

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
  const online = await readOnlineStandings(env, row.pool, now - offlineAfterMs(workerTimeoutMs));
  const able = online.filter(({ platforms }) => platforms.includes(row.platform));
  if (able.length === 0) return `a worker of pool ${row.pool} that builds for ${row.platform}: none is online`;
  const resumed = able.filter(({ paused }) => !paused);
  if (resumed.length === 0) return `a worker that is not paused; paused: ${names(able)}`;
  const trusted = resumed.filter(({ quarantined }) => !quarantined);
  if (trusted.length === 0)
    return `a worker that is not in quarantine: run \`expo-worker doctor\` on ${names(resumed)}`;
  const ready = trusted.filter(({ notReady }) => notReady === null);
  const unready = trusted.filter(({ notReady }) => notReady !== null);
  if (ready.length === 0) return `a worker that is ready. ${whyNotReady(unready)}`;
  const [ahead] = await openDatabase(env)
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
  const full = ready.every(({ held, slots }) => held >= slots) ? ': all slots are in use' : '';
  const avoided = row.avoidUntil > now && ready.find(({ id }) => id === row.avoidWorkerId);
  const passedOver = avoided
    ? `; worker ${avoided.name} had its last attempt and is passed over until ${iso(row.avoidUntil)} if another is free`
    : '';
  const others = unready.length > 0 ? `; not ready: ${whyNotReady(unready)}` : '';
  return `a free worker, with ${ahead?.count ?? 0} build(s) ahead of it${full}${passedOver}${others}`;
}

/** Each worker with the words of its agent. */
const whyNotReady = (workers: Standing[]): string => {
  const named = workers.slice(0, NAMED_MAX).map(({ name, notReady }) => `${name}: ${notReady}`);
  return named.join('; ') + (workers.length > NAMED_MAX ? '; and others' : '');
};

const names = (workers: Standing[]): string => {
  const named = workers.slice(0, NAMED_MAX).map(({ name }) => name);
  return named.join(', ') + (workers.length > NAMED_MAX ? ' and others' : '');
};
