/** Uploads of sources and artifacts. */
import { Hono } from 'hono';
import { type KeyEnv, requireBlobWriter } from '../auth.ts';
import { storeBlob, touchBlob } from '../blobs.ts';
import type { BlobStored } from '../contract.ts';
import { answerRefusal, refusal } from '../errors.ts';
import { Sha256Param, valid } from '../validate.ts';

export const blobRoutes = new Hono<KeyEnv>()
  /** 201 stored, 200 was stored already. */
  .put('/:sha256', requireBlobWriter, valid('param', Sha256Param), async (c) => {
    const length = c.req.header('Content-Length') ?? '';
    if (!/^\d{1,15}$/.test(length))
      return answerRefusal(c, refusal('invalid_request', 'Content-Length: is required, and must be a number of bytes'));
    const body = c.req.raw.body ?? new Blob([]).stream();
    const stored = await storeBlob(c.env, c.req.valid('param').sha256, Number(length), body, Date.now());
    if (!stored.ok) return answerRefusal(c, stored);
    const { sha256, size, existed } = stored;
    return c.json({ sha256, size, existed } satisfies BlobStored, existed ? 200 : 201);
  })
  /** HEAD before an upload spares the upload; collection spares what was asked for. */
  .get('/:sha256', requireBlobWriter, valid('param', Sha256Param), async (c) => {
    const stored = await touchBlob(c.env, c.req.valid('param').sha256, Date.now());
    if (!stored) return answerRefusal(c, refusal('not_found', 'this blob is not stored'));
    return c.json(stored);
  });
