/**
 * Says in words what a build that does not build yet is waiting for. Reads only.
 *
 * Invariant: the words never give names, ids or limits of other projects. They only count their builds.
 */
import type { BuildDetail, Live } from '#contract';
import type { BuildRow } from '../builds/rows.ts';
import { keyWaitedFor } from '../secrets/openable-inputs.ts';
import { offlineAfterMs } from '../settings.ts';
import { iso, isoOrNull } from '../times.ts';
import { hasFreeSlot, isServed, readOnlineStandings, type Standing } from './able-workers.ts';
import { expectStart } from './expected-start.ts';
import { COUNTED_MAX, type Place, readPlace } from './place.ts';
import { isMetBy, metBy, wordsForImage } from './requirements.ts';

const NAMED_MAX = 5;

/** The obstacle of a build in words, and its place in the queue. Null once it builds or has ended. */
export type Waiting = Pick<BuildDetail, 'waitingFor' | 'queue'>;

export async function readWaiting(
  env: Env,
  row: BuildRow,
  live: Live | null,
  workerTimeoutMs: number,
  now: number,
): Promise<Waiting> {
  if (row.status === 'assigned')
    return { waitingFor: live?.stage === 'checking' ? 'the health checks of its VM' : 'its VM to boot', queue: null };
  if (row.status !== 'queued') return { waitingFor: null, queue: null };
  const [place, found] = await Promise.all([readPlace(env, row), findWorkers(env, row, workerTimeoutMs, now)]);
  const waitingFor = 'obstacle' in found ? found.obstacle : wordsFor(row, place, found, now);
  const startAt = 'obstacle' in found ? null : await expectStart(env, row, place, found.taking, now);
  return { waitingFor, queue: { ahead: place.own + place.others, startExpectedAt: isoOrNull(startAt) } };
}

interface Found {
  /** The workers that take builds of its pool and platform, whatever their images. */
  taking: Standing[];
  /** Those of them that could take this build once a slot is free. */
  ready: Standing[];
  /** The workers that could take it if they were ready. */
  unready: Standing[];
}

/** The workers that could take the build, or the reason in words why there are none. */
async function findWorkers(
  env: Env,
  row: BuildRow,
  workerTimeoutMs: number,
  now: number,
): Promise<Found | { obstacle: string }> {
  if (row.notBefore > now)
    return { obstacle: `the VM of its lost attempt, which may still run until ${iso(row.notBefore)}` };
  const missingKey = await keyWaitedFor(env, row);
  if (missingKey) return { obstacle: missingKey };
  const online = await readOnlineStandings(env, [row.pool], now - offlineAfterMs(workerTimeoutMs), now);
  const ofPlatform = online.filter(({ platforms }) => platforms.includes(row.platform));
  if (ofPlatform.length === 0)
    return {
      obstacle: (await isServed(env, row.pool))
        ? `a worker of pool ${row.pool} that builds for ${row.platform}: none is online`
        : `a worker of pool ${row.pool}: no worker serves this pool, so its name may be wrong`,
    };
  const able = ofPlatform.filter((worker) => isMetBy(metBy(worker), row));
  if (able.length === 0)
    return {
      obstacle: `a worker with its image: no worker of pool ${row.pool} that is online offers ${wordsForImage(row)}`,
    };
  const resumed = able.filter(({ paused }) => !paused);
  if (resumed.length === 0) return { obstacle: `a worker that is not paused; paused: ${names(able)}` };
  const trusted = resumed.filter(({ quarantined }) => !quarantined);
  if (trusted.length === 0)
    return { obstacle: `a worker that is not in quarantine: run \`expo-worker doctor\` on ${names(resumed)}` };
  const ready = trusted.filter(({ notReady }) => notReady === null);
  const unready = trusted.filter(({ notReady }) => notReady !== null);
  if (ready.length === 0) return { obstacle: `a worker that is ready. ${whyNotReady(unready)}` };
  const taking = ofPlatform.filter((worker) => !worker.paused && !worker.quarantined && worker.notReady === null);
  return { taking, ready, unready };
}

function wordsFor(row: BuildRow, place: Place, { ready, unready }: Found, now: number): string {
  const { active, maxActive } = place;
  const kind = row.trusted ? '' : 'untrusted ';
  const own = `${counted(place.own)} ${kind}build(s) of its project`;
  if (maxActive !== null && active >= maxActive)
    return `the limit of ${maxActive} active ${kind}build(s) of project ${row.project}, with ${own} ahead of it`;
  const full = !ready.some(hasFreeSlot) ? ': all slots are in use' : '';
  const avoided = row.avoidUntil > now && ready.find(({ id }) => id === row.avoidWorkerId);
  const passedOver = avoided
    ? `; worker ${avoided.name} had its last attempt and is passed over until ${iso(row.avoidUntil)} if another is free`
    : '';
  const notReady = unready.length > 0 ? `; not ready: ${whyNotReady(unready)}` : '';
  const ahead = `${own} and ${counted(place.others)} of other projects ahead of it`;
  return `a free worker of pool ${row.pool}, with ${ahead}${full}${passedOver}${notReady}`;
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
