/**
 * Keeps the images that the Macs of a pool should have: an admin names them, by digest, and the agents are
 * told.
 *
 * Owns the table `pool_images`.
 */
import { and, asc, eq, isNull, sql } from 'drizzle-orm';
import { IMAGES_OF_POOL_MAX, type PoolImage, type PoolImageRequest } from '#contract';
import { insertIf, openDatabase } from '../database.ts';
import { POOLS_LISTED } from '../projects/pools.ts';
import { servesOneOf } from '../queue/able-workers.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { poolImages, pools, workers } from '../schema/index.ts';
import { iso } from '../times.ts';
import { withoutTurns } from './image-turns.ts';

const WORKERS_SHOWN_MAX = 1_000;

export const noPool = (name: string): Refusal => refusal('not_found', `there is no pool ${name}: ${POOLS_LISTED}`);

/**
 * Names the image, or another one under the same name. Refused: `not_found`, `too_many`.
 *
 * @returns `made` if the pool had none of this name
 */
export async function setPoolImage(
  env: Env,
  pool: string,
  name: string,
  { reference, atOnce }: PoolImageRequest,
  now: number,
): Promise<{ ok: true; image: PoolImage; made: boolean } | Refusal> {
  const db = openDatabase(env);
  const row = { pool, name, reference, atOnce, setAt: now };
  const others = sql`(SELECT count(*) FROM pool_images WHERE pool = ${pool} AND name != ${name})`;
  const mayBe = sql`EXISTS (SELECT 1 FROM pools WHERE name = ${pool}) AND ${others} < ${IMAGES_OF_POOL_MAX}`;
  const [earlier, set] = await db.batch([
    db.select({ name: poolImages.name }).from(poolImages).where(isImage(pool, name)),
    insertIf(db, poolImages, row, mayBe)
      .onConflictDoUpdate({ target: [poolImages.pool, poolImages.name], set: { reference, atOnce, setAt: now } })
      .returning(),
  ]);
  if (set.length === 0) {
    const there = await db.select().from(pools).where(eq(pools.name, pool)).get();
    if (!there) return noPool(pool);
    return refusal(
      'too_many',
      `name: pool ${pool} names ${IMAGES_OF_POOL_MAX} images already; remove one of them first`,
    );
  }
  const image = (await listPoolImages(env, pool))?.find((one) => one.name === name);
  return image ? { ok: true, image, made: earlier.length === 0 } : changedMeanwhile;
}

const changedMeanwhile = refusal('unavailable', 'name: it was removed during the request; send the request again');

const isImage = (pool: string, name: string) => and(eq(poolImages.pool, pool), eq(poolImages.name, name));

/** Refused: `not_found`. The Macs keep images that they have fetched. */
export async function removePoolImage(env: Env, pool: string, name: string): Promise<{ ok: true } | Refusal> {
  const db = openDatabase(env);
  const [removed] = await db.batch([
    db.delete(poolImages).where(isImage(pool, name)).returning(),
    withoutTurns(db, pool, name),
  ]);
  return removed.length > 0
    ? { ok: true }
    : refusal('not_found', `pool ${pool} names no image ${name}; \`GET /api/pools/${pool}/images\` lists its images`);
}

/** The images of the pool, and how far its workers say that they are. Null if there is no such pool. */
export async function listPoolImages(env: Env, pool: string): Promise<PoolImage[] | null> {
  const db = openDatabase(env);
  const [[there], images, served] = await db.batch([
    db.select({ name: pools.name }).from(pools).where(eq(pools.name, pool)),
    db.select().from(poolImages).where(eq(poolImages.pool, pool)).orderBy(asc(poolImages.name)),
    db
      .select({ id: workers.id, name: workers.name, imageFetches: workers.imageFetches })
      .from(workers)
      .where(and(servesOneOf([pool]), isNull(workers.removedAt)))
      .orderBy(asc(workers.name))
      .limit(WORKERS_SHOWN_MAX),
  ]);
  if (!there) return null;
  return images.map(({ setAt, ...image }) => ({
    ...image,
    setAt: iso(setAt),
    workers: served.flatMap(({ id, name, imageFetches }) => {
      const fetch = imageFetches?.find((one) => one.name === image.name && one.reference === image.reference);
      return fetch ? [{ id, name, state: fetch.state, percent: fetch.percent, message: fetch.message }] : [];
    }),
  }));
}
