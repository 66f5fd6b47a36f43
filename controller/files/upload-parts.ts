/**
 * Takes the parts of an upload from the routes to R2. The bytes of a part go from the request straight to R2
 * and are hashed on the way. blob-upload.ts remembers which parts have arrived.
 */
/// <reference path="../node-crypto.d.ts" />
import { createHash } from 'node:crypto';
import { UPLOAD_PART_BYTES, type Upload, type UploadPart } from '#contract';
import { randomText } from '../bytes.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { type Holder, touchHold } from './holds.ts';

const UPLOAD_ID_BYTES = 18;

const uploadObject = (env: Env, id: string) => env.UPLOADS.getByName(id);
/**
 * An upload and the holder that asks. An upload of another holder is answered like one that never existed.
 */
export interface UploadPlace {
  holder: Holder;
  sha256: string;
  id: string;
}

type Result = ({ ok: true } & Upload) | Refusal;
const withId = <T extends { ok: boolean }>(shown: T, id: string) => (shown.ok ? { ...shown, id } : shown);

/** Begins an upload. If `holder` holds the file already, the upload is over at once. */
export async function beginUpload(
  env: Env,
  holder: Holder,
  sha256: string,
  size: number,
  now: number,
): Promise<Result> {
  const stored = await touchHold(env, holder, sha256, now);
  if (stored)
    return {
      ...{ ok: true, id: null, sha256, size: stored.size, state: 'stored' },
      ...{ partBytes: UPLOAD_PART_BYTES, parts: [], verifiedBytes: stored.size },
    };
  const id = `u_${randomText(UPLOAD_ID_BYTES)}`;
  return withId(await uploadObject(env, id).begin(holder, sha256, size, now), id) as Result;
}

/**
 * Stores one part of `size` bytes with the SHA-256 `partSha256`. A part may be sent again. The body is read
 * to its end. Refused: `not_found`, `invalid_request`, `hash_mismatch`.
 */
export async function storePart(
  env: Env,
  { holder, sha256, id }: UploadPlace,
  { part, size, partSha256 }: { part: number; size: number; partSha256: string },
  body: ReadableStream<Uint8Array>,
  now: number,
): Promise<({ ok: true } & UploadPart) | Refusal> {
  const object = uploadObject(env, id);
  const target = await object.target(holder, sha256, part, now);
  const refused = target.ok
    ? target.size === size
      ? null
      : refusal('invalid_request', `Content-Length: part ${part} has ${target.size} bytes, not ${size}`)
    : target;
  if (refused || (target.ok && target.stored)) await body.pipeTo(new WritableStream());
  if (refused) return refused;
  if (!target.ok) return target;
  if (target.stored) return { ok: true, part, size };

  const hash = createHash('sha256');
  const hashed = new TransformStream<Uint8Array, Uint8Array>({
    transform(bytes, controller) {
      hash.update(bytes);
      controller.enqueue(bytes);
    },
  });
  const upload = env.BLOBS.resumeMultipartUpload(target.r2Key, target.r2UploadId);
  const stored = await upload.uploadPart(part, body.pipeThrough(hashed).pipeThrough(new FixedLengthStream(size)));
  // A part that is not noted does not belong to the file. The next try replaces it.
  if (hash.digest('hex') !== partSha256)
    return refusal(
      'hash_mismatch',
      `part ${part}: the body's SHA-256 is not ${partSha256}; it changed on the way, so send it again`,
    );
  await object.note(part, stored.etag);
  return { ok: true, part, size };
}

export const completeUpload = async (env: Env, { holder, sha256, id }: UploadPlace, now: number): Promise<Result> =>
  withId(await uploadObject(env, id).complete(holder, sha256, now), id) as Result;

export const showUpload = async (env: Env, { holder, sha256, id }: UploadPlace, now: number): Promise<Result> =>
  withId(await uploadObject(env, id).show(holder, sha256, now), id) as Result;

/** False if there is no such upload that still takes parts. */
export const abortUpload = async (env: Env, { holder, sha256, id }: UploadPlace): Promise<boolean> =>
  uploadObject(env, id).abort(holder, sha256);
