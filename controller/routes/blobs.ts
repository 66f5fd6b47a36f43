/** Takes uploads of sources and artifacts: in one request, or in parts. */
import type { Context } from 'hono';
import { type BlobStored, Id, PART_SHA256_HEADER, Sha256, UPLOAD_PARTS_MAX, UploadRequest } from '#contract';
import { storeBlob, touchBlob } from '../files/blobs.ts';
import { abortUpload, beginUpload, completeUpload, showUpload, storePart } from '../files/upload-parts.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import { Sha256Param, valid, wholeNumber } from '../validate.ts';
import type { On } from './register.ts';

const UploadParam = Sha256Param.extend({ upload: Id });
const PartParam = UploadParam.extend({ part: wholeNumber(1, UPLOAD_PARTS_MAX) });

export function blobRoutes(on: On): void {
  /** 201: stored. 200: it was stored already. */
  on('PUT /api/blobs/:sha256')(valid('param', Sha256Param), async (c) => {
    const length = contentLength(c);
    if (length === null) return answerRefusal(c, lengthRequired);
    const stored = await storeBlob(c.env, c.req.valid('param').sha256, length, bodyOf(c), Date.now());
    if (!stored.ok) return answerRefusal(c, stored);
    const { sha256, size, existed } = stored;
    return c.json({ sha256, size, existed } satisfies BlobStored, existed ? 200 : 201);
  });

  /**
   * A client asks before an upload, which may then be unnecessary. Retention spares a file that was asked
   * for.
   */
  on('GET /api/blobs/:sha256')(valid('param', Sha256Param), async (c) => {
    const stored = await touchBlob(c.env, c.req.valid('param').sha256, Date.now());
    if (!stored) return answerRefusal(c, refusal('not_found', 'this blob is not stored'));
    return c.json(stored);
  });

  /** 201: begun. 200: the file was stored already. */
  on('POST /api/blobs/:sha256/uploads')(valid('param', Sha256Param), valid('json', UploadRequest), async (c) => {
    const begun = await beginUpload(c.env, c.req.valid('param').sha256, c.req.valid('json').size, Date.now());
    if (!begun.ok) return answerRefusal(c, begun);
    const { ok: _, ...upload } = begun;
    return c.json(upload, upload.state === 'stored' ? 200 : 201);
  });

  /**
   * The bytes from (part - 1) × partBytes on, with their SHA-256 in a header. Parts come in any order, and
   * may be sent again.
   */
  on('PUT /api/blobs/:sha256/uploads/:upload/parts/:part')(valid('param', PartParam), async (c) => {
    const { sha256, upload: id, part } = c.req.valid('param');
    const size = contentLength(c);
    if (size === null) return answerRefusal(c, lengthRequired);
    const partSha256 = Sha256.safeParse(c.req.header(PART_SHA256_HEADER));
    if (!partSha256.success)
      return answerRefusal(
        c,
        refusal('invalid_request', `${PART_SHA256_HEADER}: is required, 64 lower-case hex digits`),
      );
    const where = { sha256, id, part, size, partSha256: partSha256.data };
    const stored = await storePart(c.env, where, bodyOf(c), Date.now());
    return stored.ok ? c.json({ part: stored.part, size: stored.size }) : answerRefusal(c, stored);
  });

  /** 202: all parts are there and are being verified. Ask until the answer is 200 or a refusal. */
  on('POST /api/blobs/:sha256/uploads/:upload/complete')(valid('param', UploadParam), async (c) => {
    const { sha256, upload: id } = c.req.valid('param');
    return answerUpload(c, await completeUpload(c.env, sha256, id, Date.now()));
  });

  on('GET /api/blobs/:sha256/uploads/:upload')(valid('param', UploadParam), async (c) => {
    const { sha256, upload: id } = c.req.valid('param');
    return answerUpload(c, await showUpload(c.env, sha256, id, Date.now()));
  });

  on('DELETE /api/blobs/:sha256/uploads/:upload')(valid('param', UploadParam), async (c) => {
    const { sha256, upload: id } = c.req.valid('param');
    if (await abortUpload(c.env, sha256, id)) return c.body(null, 204);
    return answerRefusal(c, refusal('not_found', 'there is no such upload, or it is complete'));
  });
}

function answerUpload(c: Context, shown: Awaited<ReturnType<typeof showUpload>>) {
  if (!shown.ok) return answerRefusal(c, shown);
  const { ok: _, ...upload } = shown;
  return c.json(upload, upload.state === 'verifying' ? 202 : 200);
}

const bodyOf = (c: Context): ReadableStream<Uint8Array> => c.req.raw.body ?? new Blob([]).stream();

/** Null if the header is no plain number. R2 takes no body of unknown length. */
function contentLength(c: Context): number | null {
  const length = c.req.header('Content-Length') ?? '';
  return /^\d{1,15}$/.test(length) ? Number(length) : null;
}
const lengthRequired = refusal('invalid_request', 'Content-Length: is required, and must be a number of bytes');
