/** Keys: made, listed, revoked by admins; rotated also by the key itself. */
import { Hono } from 'hono';
import { z } from 'zod';
import { DAY_MS, KeyRequest } from '#contract';
import { type KeyEnv, requireAdminOrThisKey, requireScope } from '../access/auth.ts';
import { ROTATION_OVERLAP_MS, rotateKey } from '../access/key-rotation.ts';
import { createKey, listKeys, type OnWorkerKeyRevoked, revokeKey } from '../access/keys.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import { IdParam, valid, wholeNumber } from '../validate.ts';

const OVERLAP_MAX_MS = 30 * DAY_MS;
const RotateQuery = z.object({ overlapMs: wholeNumber(0, OVERLAP_MAX_MS).optional() });

export const keyRoutes = (onWorkerKeyRevoked: OnWorkerKeyRevoked) =>
  new Hono<KeyEnv>()
    .post('/', requireScope('admin'), valid('json', KeyRequest), async (c) => {
      const { name, scope, expiresAt, pools = null } = c.req.valid('json');
      const now = Date.now();
      const expiresAtMs = expiresAt === undefined ? null : Date.parse(expiresAt);
      if (expiresAtMs !== null && expiresAtMs <= now)
        return answerRefusal(c, refusal('invalid_request', 'expiresAt: must be in the future'));
      return c.json(await createKey(c.env, { name, scope, pools, expiresAt: expiresAtMs }, now), 201);
    })
    .get('/', requireScope('admin'), async (c) => c.json({ keys: await listKeys(c.env) }))
    .delete('/:id', requireScope('admin'), valid('param', IdParam), async (c) => {
      const revoked = await revokeKey(c.env, c.req.valid('param').id, Date.now(), onWorkerKeyRevoked);
      return revoked.ok ? c.json({ key: revoked.key }) : answerRefusal(c, revoked);
    })
    /** `?overlapMs=` for how long the old key works on at least; 0 ends it now. */
    .post('/:id/rotate', requireAdminOrThisKey, valid('param', IdParam), valid('query', RotateQuery), async (c) => {
      const { overlapMs = ROTATION_OVERLAP_MS } = c.req.valid('query');
      const rotated = await rotateKey(c.env, c.req.valid('param').id, Date.now(), overlapMs);
      return rotated.ok ? c.json({ key: rotated.key, secret: rotated.secret }, 201) : answerRefusal(c, rotated);
    });
