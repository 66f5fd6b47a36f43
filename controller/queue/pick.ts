/**
 * Chooses the build that a worker gets next. Reads only.
 *
 * The highest priority is first. Within a priority come the builds that were requeued or handed back, then
 * those of the project with the fewest active builds on the whole farm. Then the order of the worker's pools
 * decides, then the age of the build. So no pool waits for ever behind a fuller one. The untrusted builds of
 * a project count as a project of their own.
 *
 * A worker gets only builds whose requirements it meets (requirements.ts).
 *
 * Invariant: the cost depends on the number of projects that wait and of images that the worker offers, and
 * not on the number of queued builds. `project_load` names the projects, and each gives the first build of
 * each image by the index `builds_queue_image`.
 */
import { and, eq, type SQL, sql } from 'drizzle-orm';
import { BUILD_COLUMNS, type BuildRow } from '../builds/rows.ts';
import { openDatabase } from '../database.ts';
import { builds } from '../schema/index.ts';
import { inputsCanBeOpened } from '../secrets/openable-inputs.ts';
import { iso } from '../times.ts';
import { isAble, readOnlineStandings } from './able-workers.ts';
import { ACTIVE_OF_PART, PROJECT_HAS_ROOM } from './project-room.ts';
import { isMetBy, type Requirement, wordsForImage } from './requirements.ts';

/** The worker that asks. */
interface Asking {
  id: string;
  pools: readonly string[];
  /** The requirements that it meets. */
  meets: readonly Requirement[];
}

/** How many parts of the queue a reason looks at. */
const LOOKED_AT_MAX = 20;

/** The pool, platform and image of a row of `builds`, by which the worker asks whether it is alone. */
const placeOf = (pool: string, { platform, image }: Requirement): string => `${pool} ${platform} ${image ?? ''}`;
const PLACE = sql`builds.pool || ' ' || builds.platform || ' ' || coalesce(builds.image, '')`;

/**
 * Picks builds for one claim. A build that avoids this worker is left out if another worker could take it at
 * once. The other workers are read only if such a build is in front, because a worker asks every few seconds.
 *
 * @param further a further condition on the row of `builds`
 */
export function picker(env: Env, worker: Asking, heardSince: number, now: number, further?: SQL) {
  const places = worker.pools.flatMap((pool) => worker.meets.map((required) => ({ pool, required })));
  /** The places where no other worker could take a build. Null until a build in front avoids this worker. */
  let alone: string[] | null = null;
  return {
    /** The next build, without those that were `tried`. */
    async next(tried: readonly string[]): Promise<BuildRow | undefined> {
      const found = await first(env, worker, alone, tried, now, further);
      if (!found || alone || !avoids(found, worker, now)) return found;
      const others = (await readOnlineStandings(env, worker.pools, heardSince, now)).filter(
        ({ id }) => id !== worker.id,
      );
      alone = places
        .filter(({ pool, required }) => !others.some((other) => isAble(other, pool, required)))
        .map(({ pool, required }) => placeOf(pool, required));
      return first(env, worker, alone, tried, now, further);
    },
  };
}

/** @param alone null for every place */
const first = async (
  env: Env,
  worker: Asking,
  alone: readonly string[] | null,
  tried: readonly string[],
  now: number,
  further?: SQL,
): Promise<BuildRow | undefined> => {
  const mayAvoid = sql`(builds.avoid_worker_id IS NOT ${worker.id} OR builds.avoid_until <= ${now}
    OR ${PLACE} IN (SELECT value FROM json_each(${JSON.stringify(alone)})))`;
  const eligible = and(
    sql`builds.not_before <= ${now}`,
    alone ? mayAvoid : undefined,
    tried.length > 0 ? sql`builds.id NOT IN (SELECT value FROM json_each(${JSON.stringify(tried)}))` : undefined,
    further,
  )!;
  const [picked] = await pickStatement(env, worker, eligible);
  return picked;
};

/** The statement that finds the next build. `eligible` is a condition on the row of `builds`. */
export const pickStatement = (env: Pick<Env, 'DB'>, worker: Asking, eligible: SQL) =>
  openDatabase(env)
    .select(BUILD_COLUMNS)
    .from(sql`json_each(${JSON.stringify(worker.pools)}) AS pools`)
    .innerJoin(sql`json_each(${JSON.stringify(worker.meets)}) AS met`, sql`TRUE`)
    .innerJoin(sql`project_load AS part`, PART_OF_WORKER)
    .innerJoin(builds, eq(builds.id, headOf(eligible)))
    .where(PROJECT_HAS_ROOM)
    .orderBy(builds.queueRank, ACTIVE_OF_PART, sql`pools.key`, builds.queuedAt, builds.id)
    .limit(1);

/** The parts of the queue that the worker may take from. */
const PART_OF_WORKER: SQL = sql`part.pool = pools.value AND part.platform = met.value ->> 'platform' AND part.queued > 0`;

/** The first build of a part that asks for the image, by one seek in the index if it is eligible. */
const headOf = (eligible: SQL): SQL => sql`(
  SELECT builds.id FROM builds INDEXED BY builds_queue_image
  WHERE builds.status = 'queued' AND ${OF_PART} AND builds.image IS met.value ->> 'image' AND ${eligible}
  ORDER BY builds.queue_rank, builds.queued_at LIMIT 1)`;

const OF_PART: SQL = sql`builds.pool = part.pool AND builds.platform = part.platform
  AND builds.project_id = part.project_id AND builds.trusted = part.trusted`;

/** The first build of a part, whatever image it asks for. */
const FIRST_OF_PART: SQL = sql`(
  SELECT builds.id FROM builds INDEXED BY builds_queue WHERE builds.status = 'queued' AND ${OF_PART}
  ORDER BY builds.queue_rank, builds.queued_at LIMIT 1)`;

type Avoiding = Pick<BuildRow, 'avoidWorkerId' | 'avoidUntil'>;
const avoids = ({ avoidWorkerId, avoidUntil }: Avoiding, worker: Asking, now: number) =>
  avoidWorkerId === worker.id && avoidUntil > now;

/** Says why `worker` gets none of the builds that wait in its pools. Null if none waits. */
export async function whyNone(env: Env, worker: Asking, now: number): Promise<string | null> {
  const { id, platform, image, notBefore, avoidWorkerId, avoidUntil } = builds;
  const waiting = await openDatabase(env)
    .select({
      ...{ id, platform, image, notBefore, avoidWorkerId, avoidUntil },
      hasRoom: sql`${PROJECT_HAS_ROOM}`.mapWith(Boolean),
      canBeOpened: sql`${await inputsCanBeOpened(env)}`.mapWith(Boolean),
    })
    .from(sql`json_each(${JSON.stringify(worker.pools)}) AS pools`)
    .innerJoin(sql`project_load AS part`, sql`part.pool = pools.value AND part.queued > 0`)
    .innerJoin(builds, eq(builds.id, FIRST_OF_PART))
    .orderBy(sql`pools.key`, builds.queueRank, builds.queuedAt)
    .limit(LOOKED_AT_MAX);
  if (waiting.length === 0) return null;
  const platforms = [...new Set(worker.meets.map((met) => met.platform))];
  const ofPlatform = waiting.filter((build) => platforms.includes(build.platform));
  if (ofPlatform.length === 0)
    return (
      `the builds that wait in ${wordsForPools(worker.pools)} are for ${waiting[0]!.platform}, and this worker builds for ` +
      `${platforms.join(' and ')}; \`platforms\` in its config says so`
    );
  const mine = ofPlatform.filter((build) => isMetBy(worker.meets, build));
  if (mine.length === 0)
    return (
      `build ${ofPlatform[0]!.id} waits for ${wordsForImage(ofPlatform[0]!)}, which this worker does not offer; ` +
      '`images` in its config names those that it offers'
    );
  const held = mine.find((build) => build.notBefore > now);
  if (held)
    return `build ${held.id} waits until ${iso(held.notBefore)}, because the VM of its lost attempt may still run`;
  const avoiding = mine.find((build) => avoids(build, worker, now));
  if (avoiding)
    return `build ${avoiding.id} waits for another worker until ${iso(avoiding.avoidUntil)}, because its last attempt ended on this one`;
  const limited = mine.find(({ hasRoom }) => !hasRoom);
  if (limited) return `build ${limited.id} waits, because its project has as many active builds as its limit allows`;
  const sealed = mine.find(({ canBeOpened }) => !canBeOpened);
  return sealed
    ? `build ${sealed.id} waits, because INPUTS_KEY lacks the key that sealed its inputs; \`waitingFor\` names that key`
    : null;
}

const wordsForPools = (pools: readonly string[]): string =>
  pools.length === 1 ? `pool ${pools[0]}` : `pools ${pools.join(', ')}`;
