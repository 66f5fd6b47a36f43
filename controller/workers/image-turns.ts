/**
 * Tells a worker which images its pools name, and when it is its turn to fetch one.
 *
 * If two pools of a worker name an image of the same name, the worker gets that of the pool which it serves
 * first, because a Mac has one image of a name.
 *
 * Invariant: at most `atOnce` workers of a pool have a turn for an image at a time. The statement that gives
 * a turn counts the others itself. A turn ends when its worker says that the image is there, or that the
 * fetch has failed. It ends too if the worker goes offline or does not speak of the image for ten minutes.
 * The end is stored before the next turn is given, so a worker that comes back does not find its old one.
 *
 * Owns the table `image_turns`: one row for each worker and name.
 */
import { and, asc, eq, isNull, sql } from 'drizzle-orm';
import { IMAGES_OF_POOL_MAX, type ImageFetch, type WantedImage } from '#contract';
import { type Database, openDatabase } from '../database.ts';
import { imageTurns, poolImages } from '../schema/index.ts';
import type { WorkerRow } from './registry.ts';

const SILENT_MAX_MS = 10 * 60_000;

/**
 * A worker whose turn has ended gets another one for the same image after this time, or sooner if it says
 * that it waits for the image. So a worker that says nothing does not keep the others waiting.
 */
const AGAIN_AFTER_MS = 3_600_000;

type Named = Pick<typeof poolImages.$inferSelect, 'pool' | 'name' | 'reference'>;

/**
 * The images that the worker should have: as many as it can speak of.
 *
 * @param fetches what its agent says of them; undefined for an older agent, which gets no turn
 * @param heardSince a worker that was last heard before is offline
 */
export async function wantedImages(
  env: Env,
  worker: Pick<WorkerRow, 'id' | 'pools'>,
  fetches: readonly ImageFetch[] | undefined,
  heardSince: number,
  now: number,
): Promise<WantedImage[]> {
  const named = await readNamed(env, worker.pools);
  if (named.length === 0) return [];
  const turns = fetches ? await takeTurns(env, worker.id, named, fetches, heardSince, now) : [];
  return named.map(({ pool, name, reference }) => ({
    ...{ name, reference },
    mayFetch: turns.some((turn) => turn.pool === pool && turn.name === name && turn.reference === reference),
  }));
}

async function readNamed(env: Env, pools: readonly string[]): Promise<Named[]> {
  const rows = await openDatabase(env)
    .select({ pool: poolImages.pool, name: poolImages.name, reference: poolImages.reference })
    .from(sql`json_each(${JSON.stringify(pools)}) AS pools`)
    .innerJoin(poolImages, sql`${poolImages.pool} = pools.value`)
    .orderBy(sql`pools.key`, asc(poolImages.name));
  return rows
    .filter(({ name }, index) => rows.findIndex((row) => row.name === name) === index)
    .slice(0, IMAGES_OF_POOL_MAX);
}

/** Ends, keeps and gives turns, in one batch. Answers those that the worker has now. */
async function takeTurns(
  env: Env,
  workerId: string,
  named: readonly Named[],
  fetches: readonly ImageFetch[],
  heardSince: number,
  now: number,
): Promise<Named[]> {
  const hasEnded = ({ state }: ImageFetch) => state === 'done' || state === 'failed';
  const asks = named.flatMap((image) => {
    const said = fetches.find(({ name, reference }) => name === image.name && reference === image.reference);
    return said?.state === 'done' ? [] : [{ ...image, isWaiting: said !== undefined && !hasEnded(said) }];
  });
  const db = openDatabase(env);
  const own = and(eq(imageTurns.workerId, workerId), isNull(imageTurns.endedAt))!;
  const isOf = (these: readonly ImageFetch[]) =>
    sql`(${imageTurns.name}, ${imageTurns.reference}) IN (
      SELECT value ->> 'name', value ->> 'reference' FROM json_each(${JSON.stringify(these)}))`;
  const isLost = sql`(${imageTurns.heardAt} <= ${now - SILENT_MAX_MS} OR NOT EXISTS (
    SELECT 1 FROM workers WHERE workers.id = worker_id AND removed_at IS NULL AND last_seen > ${heardSince}))`;
  const isAskedFor = sql`(${imageTurns.pool}, ${imageTurns.name}) IN (
    SELECT value ->> 'pool', value ->> 'name' FROM json_each(${JSON.stringify(asks)}))`;
  const results = await db.batch([
    db
      .update(imageTurns)
      .set({ endedAt: now })
      .where(and(own, isOf(fetches.filter(hasEnded)))),
    db
      .update(imageTurns)
      .set({ heardAt: now })
      .where(and(own, isOf(fetches.filter((fetch) => !hasEnded(fetch))))),
    db
      .update(imageTurns)
      .set({ endedAt: now })
      .where(and(isNull(imageTurns.endedAt), isAskedFor, isLost)),
    turnsInsertion(db, workerId, asks, now),
    db.select().from(imageTurns).where(own),
  ]);
  return results[4];
}

/** Gives the worker each turn that it asks for, if one is free. */
const turnsInsertion = (
  db: Database,
  workerId: string,
  asks: readonly (Named & { isWaiting: boolean })[],
  now: number,
) =>
  db
    .insert(imageTurns)
    .select(
      sql`SELECT ${workerId}, image.name, image.pool, image.reference, ${now}, NULL
        FROM json_each(${JSON.stringify(asks)}) AS ask JOIN pool_images AS image
          ON image.pool = ask.value ->> 'pool' AND image.name = ask.value ->> 'name'
            AND image.reference = ask.value ->> 'reference'
        WHERE image.at_once > (SELECT count(*) FROM image_turns AS other
            WHERE other.pool = image.pool AND other.name = image.name AND other.ended_at IS NULL
              AND other.worker_id != ${workerId})
          AND NOT EXISTS (SELECT 1 FROM image_turns AS last
            WHERE last.worker_id = ${workerId} AND last.pool = image.pool AND last.name = image.name
              AND last.reference = image.reference AND (last.ended_at IS NULL
                OR (NOT ask.value ->> 'isWaiting' AND last.ended_at > ${now - AGAIN_AFTER_MS})))`,
    )
    .onConflictDoUpdate({
      target: [imageTurns.workerId, imageTurns.name],
      set: {
        pool: sql`excluded.pool`,
        reference: sql`excluded.reference`,
        heardAt: sql`excluded.heard_at`,
        endedAt: null,
      },
    });

/** The statement that forgets all turns for an image of a pool, for the batch that removes the image. */
export const withoutTurns = (db: Database, pool: string, name: string) =>
  db.delete(imageTurns).where(and(eq(imageTurns.pool, pool), eq(imageTurns.name, name)));
