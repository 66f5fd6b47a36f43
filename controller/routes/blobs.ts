/**
 * Takes uploads of sources and artifacts: in one request, or in parts. A key uploads below `/api/blobs`, an
 * attempt with its own token below its build.
 *
 * Invariant: a caller learns only of the files of its own holder. The answer for any other file is the one
 * for a file that nobody has stored.
 */
import type { Context } from 'hono';
import type { z } from 'zod';
import { type BlobStored, Id, PART_SHA256_HEADER, Sha256, UPLOAD_PARTS_MAX, UploadRequest } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { holderOfKey } from '../access/blob-holder.ts';
import type { AuthenticatedKey } from '../access/keys.ts';
import { writerOf } from '../attempts/writers.ts';
import { storeBlob } from '../files/blobs.ts';
import { attemptHolder, type Holder, touchHold } from '../files/holds.ts';
import {
  abortUpload,
  beginUpload,
  completeUpload,
  showUpload,
  storePart,
  type UploadPlace,
} from '../files/upload-parts.ts';
import { answerRefusal, type Refusal, refusal } from '../refusals.ts';
import { Sha256Param, valid, wholeNumber } from '../validate.ts';
import type { On } from './register.ts';

const UploadParam = Sha256Param.extend({ upload: Id });
const PartParam = UploadParam.extend({ part: wholeNumber(1, UPLOAD_PARTS_MAX) });

/** The row of the route decides which of both is set. */
type Uploader = { key: AuthenticatedKey; caller?: undefined } | { caller: AttemptCaller };
type Found = { ok: true; holder: Holder } | Refusal;

export function blobRoutes(on: On): void {
  on('PUT /api/blobs/:sha256')(valid('param', Sha256Param), (c) => put(c, c.req.valid('param').sha256));
  on('PUT /api/builds/:id/blobs/:sha256')(valid('param', Sha256Param), (c) => put(c, c.req.valid('param').sha256));

  on('GET /api/blobs/:sha256')(valid('param', Sha256Param), (c) => ask(c, c.req.valid('param').sha256, notStored));
  // This route has its own code. From `not_found` an agent knows a controller of the former release, which
  // has no such route.
  on('GET /api/builds/:id/blobs/:sha256')(valid('param', Sha256Param), (c) =>
    ask(c, c.req.valid('param').sha256, notStoredByAttempt),
  );

  on('POST /api/blobs/:sha256/uploads')(valid('param', Sha256Param), valid('json', UploadRequest), (c) =>
    begin(c, c.req.valid('param').sha256, c.req.valid('json').size),
  );
  on('POST /api/builds/:id/blobs/:sha256/uploads')(valid('param', Sha256Param), valid('json', UploadRequest), (c) =>
    begin(c, c.req.valid('param').sha256, c.req.valid('json').size),
  );

  on('PUT /api/blobs/:sha256/uploads/:upload/parts/:part')(valid('param', PartParam), (c) =>
    putPart(c, c.req.valid('param')),
  );
  on('PUT /api/builds/:id/blobs/:sha256/uploads/:upload/parts/:part')(valid('param', PartParam), (c) =>
    putPart(c, c.req.valid('param')),
  );

  on('POST /api/blobs/:sha256/uploads/:upload/complete')(valid('param', UploadParam), (c) =>
    show(c, c.req.valid('param'), completeUpload),
  );
  on('POST /api/builds/:id/blobs/:sha256/uploads/:upload/complete')(valid('param', UploadParam), (c) =>
    show(c, c.req.valid('param'), completeUpload),
  );

  on('GET /api/blobs/:sha256/uploads/:upload')(valid('param', UploadParam), (c) =>
    show(c, c.req.valid('param'), showUpload),
  );
  on('GET /api/builds/:id/blobs/:sha256/uploads/:upload')(valid('param', UploadParam), (c) =>
    show(c, c.req.valid('param'), showUpload),
  );

  on('DELETE /api/blobs/:sha256/uploads/:upload')(valid('param', UploadParam), (c) => abort(c, c.req.valid('param')));
  on('DELETE /api/builds/:id/blobs/:sha256/uploads/:upload')(valid('param', UploadParam), (c) =>
    abort(c, c.req.valid('param')),
  );
}

/** The holder for which the caller uploads. A key of several projects names one as `?project=`. */
async function holderOf(c: Context): Promise<Found> {
  const uploader = c.var as Uploader;
  if (!uploader.caller) {
    const named = Id.optional().safeParse(c.req.query('project'));
    if (!named.success) return refusal('invalid_request', 'project: is no id or name of a project');
    return holderOfKey(c.env, uploader.key, named.data);
  }
  const buildId = c.req.param('id') ?? '';
  const writer = await writerOf(c.env, uploader.caller, buildId, null, 'upload', Date.now());
  return writer.ok ? { ok: true, holder: attemptHolder(buildId, writer.attempt) } : writer;
}

/** 201: stored. 200: its holder had stored it already. */
async function put(c: Context, sha256: string) {
  const length = contentLength(c);
  if (length === null) return answerRefusal(c, lengthRequired);
  const found = await holderOf(c);
  if (!found.ok) return answerRefusal(c, found);
  const stored = await storeBlob(c.env, found.holder, sha256, length, bodyOf(c), Date.now());
  if (!stored.ok) return answerRefusal(c, stored);
  const { size, existed } = stored;
  return c.json({ sha256, size, existed } satisfies BlobStored, existed ? 200 : 201);
}

/**
 * A client asks before an upload, which may be unnecessary. Retention then spares the file for a while.
 */
async function ask(c: Context, sha256: string, otherwise: Refusal) {
  const found = await holderOf(c);
  if (!found.ok) return answerRefusal(c, found);
  const stored = await touchHold(c.env, found.holder, sha256, Date.now());
  return stored ? c.json(stored) : answerRefusal(c, otherwise);
}
const notStored = refusal('not_found', 'this blob is not stored');
const notStoredByAttempt = refusal('artifact_not_stored', 'this attempt has not stored the file; upload it');

/** 201: begun. 200: its holder had stored the file already. */
async function begin(c: Context, sha256: string, size: number) {
  const found = await holderOf(c);
  if (!found.ok) return answerRefusal(c, found);
  const begun = await beginUpload(c.env, found.holder, sha256, size, Date.now());
  if (!begun.ok) return answerRefusal(c, begun);
  const { ok: _, ...upload } = begun;
  return c.json(upload, upload.state === 'stored' ? 200 : 201);
}

/**
 * Takes the bytes from (part - 1) × partBytes on, with their SHA-256 in a header. A client may send parts in
 * any order, and again.
 */
async function putPart(c: Context, { sha256, upload: id, part }: z.infer<typeof PartParam>) {
  const size = contentLength(c);
  if (size === null) return answerRefusal(c, lengthRequired);
  const partSha256 = Sha256.safeParse(c.req.header(PART_SHA256_HEADER));
  if (!partSha256.success)
    return answerRefusal(c, refusal('invalid_request', `${PART_SHA256_HEADER}: is required, 64 lower-case hex digits`));
  const found = await holderOf(c);
  if (!found.ok) return answerRefusal(c, found);
  const place = { holder: found.holder, sha256, id };
  const stored = await storePart(c.env, place, { part, size, partSha256: partSha256.data }, bodyOf(c), Date.now());
  return stored.ok ? c.json({ part: stored.part, size: stored.size }) : answerRefusal(c, stored);
}

/** 202: all parts are there and are being verified. Ask until the answer is 200 or a refusal. */
async function show(
  c: Context,
  { sha256, upload: id }: z.infer<typeof UploadParam>,
  call: (env: Env, place: UploadPlace, now: number) => ReturnType<typeof showUpload>,
) {
  const found = await holderOf(c);
  if (!found.ok) return answerRefusal(c, found);
  const shown = await call(c.env, { holder: found.holder, sha256, id }, Date.now());
  if (!shown.ok) return answerRefusal(c, shown);
  const { ok: _, ...upload } = shown;
  return c.json(upload, upload.state === 'verifying' ? 202 : 200);
}

async function abort(c: Context, { sha256, upload: id }: z.infer<typeof UploadParam>) {
  const found = await holderOf(c);
  if (!found.ok) return answerRefusal(c, found);
  if (await abortUpload(c.env, { holder: found.holder, sha256, id })) return c.body(null, 204);
  return answerRefusal(c, refusal('not_found', 'there is no such upload, or it is complete'));
}

const bodyOf = (c: Context): ReadableStream<Uint8Array> => c.req.raw.body ?? new Blob([]).stream();

/** Null if the header is no plain number. R2 takes no body of unknown length. */
function contentLength(c: Context): number | null {
  const length = c.req.header('Content-Length') ?? '';
  return /^\d{1,15}$/.test(length) ? Number(length) : null;
}
const lengthRequired = refusal('invalid_request', 'Content-Length: is required, and must be a number of bytes');
