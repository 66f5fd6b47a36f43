/** Answers an admin of the farm about pools, and the images that their Macs should have. */
import { z } from 'zod';
import { Id, type Pool, type PoolImage, type PoolImageList, PoolImageRequest, PoolPatch } from '#contract';
import { changePool, listPools, type PoolRow } from '../../projects/pools.ts';
import { answerRefusal } from '../../refusals.ts';
import { iso } from '../../times.ts';
import { valid } from '../../validate.ts';
import { listPoolImages, noPool, removePoolImage, setPoolImage } from '../../workers/pool-images.ts';
import type { On } from '../register.ts';

const PoolParam = z.object({ pool: Id });
const ImageParam = z.object({ pool: Id, name: Id });

export function poolRoutes(on: On): void {
  on('GET /api/pools')(async (c) => c.json({ pools: (await listPools(c.env)).map(viewPool) }));

  on('PATCH /api/pools/:pool')(valid('param', PoolParam), valid('json', PoolPatch), async (c) => {
    const { pool: name } = c.req.valid('param');
    const changed = await changePool(c.env, name, c.req.valid('json'));
    return changed ? c.json(viewPool(changed)) : answerRefusal(c, noPool(name));
  });

  on('GET /api/pools/:pool/images')(valid('param', PoolParam), async (c) => {
    const { pool } = c.req.valid('param');
    const images = await listPoolImages(c.env, pool);
    return images ? c.json({ images } satisfies PoolImageList) : answerRefusal(c, noPool(pool));
  });

  /** 201 if the pool had no image of this name. */
  on('PUT /api/pools/:pool/images/:name')(valid('param', ImageParam), valid('json', PoolImageRequest), async (c) => {
    const { pool, name } = c.req.valid('param');
    const set = await setPoolImage(c.env, pool, name, c.req.valid('json'), Date.now());
    if (!set.ok) return answerRefusal(c, set);
    return c.json(set.image satisfies PoolImage, set.made ? 201 : 200);
  });

  on('DELETE /api/pools/:pool/images/:name')(valid('param', ImageParam), async (c) => {
    const { pool, name } = c.req.valid('param');
    const removed = await removePoolImage(c.env, pool, name);
    return removed.ok ? c.body(null, 204) : answerRefusal(c, removed);
  });
}

const viewPool = ({ name, trusted, createdAt }: PoolRow): Pool => ({ name, trusted, createdAt: iso(createdAt) });
