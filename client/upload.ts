/**
 * Uploads one file of this disk to the controller's store, in one request or, if it is large, in parts.
 *
 * Invariant: it ends with the controller's answer that the file is stored and verified, or with a failure. It
 * retries each part separately. Every retry is bounded by a count or by `giveUpAfterMs`, and the wait for
 * the verification by `verifyMaxMs`. It reports the upload's id before it sends the first
 * part, so that a sender that crashes can continue. It reads each part from the disk while it sends it, so it
 * holds no part in memory.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { BLOB_MAX_BYTES, type BlobStored, Upload } from '#contract';
import type { Answer, Refused, Unreachable } from './answer.ts';
import { type BlobPlace, blobPath, type LocalFile, PLACE_OF_KEY, putBlob, putPart } from './blob-requests.ts';
import type { Connection } from './request.ts';
import { jittered, pause, untilAnswered } from './retry.ts';
import { awakeMs } from './running-clock.ts';

/** The most tries for a damaged part, or for an upload that the controller has forgotten. */
const TRIES_MAX = 3;
/** How many parts are sent at once. The lanes send while others wait for an answer. */
const LANES = 3;
const RETRY_FIRST_MS = 500;
const POLL_FIRST_MS = 100;
const POLL_MAX_MS = 2_000;
/** The longest that it waits until the controller has read the file back. */
const VERIFY_MAX_MS = 60 * 60_000;

const NOT_VERIFIED = 'it has the file, and has not verified it in time';

export interface BlobUploadOptions {
  /** Left out: for the key. */
  place?: BlobPlace;
  signal: AbortSignal;
  /** How long it waits for a controller that it cannot reach, each time. */
  giveUpAfterMs: number;
  /** The upload that an earlier run has begun, and a function that stores the id of a new one. */
  uploadId?: string | undefined;
  onBegun?: (uploadId: string) => Promise<void>;
  onProgress?: (sentBytes: number) => void;
  /** Called with the reason while the controller is away. */
  onUnreachable?: (why: string) => void;
  /** Larger files are sent in parts. */
  partsAboveBytes?: number;
  /** The base of the pause before a damaged part is sent again. It doubles for each try. Left out: 0.5 s. */
  retryFirstMs?: number;
  /** Left out: one hour. */
  verifyMaxMs?: number;
}

/** Uploads the file. Rejects only with the signal's reason, or if the file cannot be read. */
export async function uploadBlob(
  connection: Connection,
  blob: LocalFile,
  options: BlobUploadOptions,
): Promise<Answer<BlobStored>> {
  const { partsAboveBytes = BLOB_MAX_BYTES } = options;
  const send = blob.sizeBytes > partsAboveBytes ? inParts : inOneRequest;
  let answer = await send(connection, blob, options);
  for (let tries = 1; tries < TRIES_MAX && isWorthAnother(answer); tries++) {
    await pause(retryMs(tries, options), options.signal);
    answer = await send(connection, blob, { ...options, uploadId: undefined });
  }
  return answer;
}

const retryMs = (tries: number, { retryFirstMs = RETRY_FIRST_MS }: BlobUploadOptions) =>
  jittered(retryFirstMs * 2 ** tries);

/**
 * True if another try can help: the file was damaged on the way, or the controller has forgotten the upload.
 * The file on this disk is right, because its hash was computed just before.
 */
const isWorthAnother = (answer: Answer<unknown>): boolean =>
  !answer.ok && answer.kind === 'refused' && ['hash_mismatch', 'not_found', 'upload_incomplete'].includes(answer.code);

const inOneRequest = (connection: Connection, blob: LocalFile, options: BlobUploadOptions) =>
  untilAnswered(() => putBlob(connection, blob, options.signal, options.place, options.onProgress), options);

async function inParts(
  connection: Connection,
  blob: LocalFile,
  options: BlobUploadOptions,
): Promise<Answer<BlobStored>> {
  const { signal, onBegun, verifyMaxMs = VERIFY_MAX_MS } = options;
  const { sha256, sizeBytes } = blob;
  const uploadCalls = callsOf(connection, options.place ?? PLACE_OF_KEY);
  const ask = <T>(call: () => Promise<Answer<T>>) => untilAnswered(call, options);

  const { uploadId } = options;
  let upload = uploadId ? await ask(() => uploadCalls.show(sha256, uploadId, signal)) : null;
  if (!upload?.ok) {
    upload = await ask(() => uploadCalls.begin(sha256, sizeBytes, signal));
    if (!upload.ok) return upload;
    if (upload.value.id !== null) await onBegun?.(upload.value.id);
  }
  const { id, state } = upload.value;
  if (id === null) return { ok: true, value: { sha256, size: sizeBytes, existed: true } };
  if (state === 'open') {
    const failure = await sendParts(connection, blob, id, upload.value, options);
    if (failure) return failure;
  }
  let answer = await ask(() => uploadCalls.complete(sha256, id, signal));
  const untilMs = awakeMs() + verifyMaxMs;
  for (let waitMs = POLL_FIRST_MS; answer.ok && answer.value.state === 'verifying'; ) {
    if (awakeMs() >= untilMs) return { ok: false, kind: 'unreachable', message: NOT_VERIFIED };
    await pause(jittered(waitMs), signal);
    waitMs = Math.min(POLL_MAX_MS, waitMs * 2);
    answer = await ask(() => uploadCalls.show(sha256, id, signal));
  }
  return answer.ok ? { ok: true, value: { sha256, size: sizeBytes, existed: false } } : answer;
}

/** The calls for an upload in parts. */
const callsOf = (connection: Connection, place: BlobPlace) => {
  const path = (sha256: string, id?: string, rest = '') =>
    blobPath(place, `${sha256}/uploads${id === undefined ? '' : `/${encodeURIComponent(id)}`}${rest}`);
  return {
    begin: (sha256: string, size: number, signal: AbortSignal): Promise<Answer<Upload>> =>
      connection.call({ method: 'POST', path: path(sha256), answer: Upload, json: { size }, signal }),
    show: (sha256: string, id: string, signal: AbortSignal): Promise<Answer<Upload>> =>
      connection.call({ method: 'GET', path: path(sha256, id), answer: Upload, signal }),
    complete: (sha256: string, id: string, signal: AbortSignal): Promise<Answer<Upload>> =>
      connection.call({ method: 'POST', path: path(sha256, id, '/complete'), answer: Upload, signal }),
  };
};

/**
 * Returns null when all parts are stored. It stops at the first failure. The controller keeps the parts that
 * have arrived for the next try.
 */
async function sendParts(
  connection: Connection,
  { path, sha256, sizeBytes }: LocalFile,
  id: string,
  { partBytes, parts }: Upload,
  options: BlobUploadOptions,
): Promise<Refused | Unreachable | null> {
  const there = new Set(parts);
  const numbers = Array.from({ length: Math.ceil(sizeBytes / partBytes) }, (_, i) => i + 1);
  const todo = numbers.filter((number) => !there.has(number));
  let sentBytes = sizeBytes - todo.reduce((sum, number) => sum + sizeOf(number), 0);
  let failure: Refused | Unreachable | null = null;
  function sizeOf(number: number) {
    return Math.min(partBytes, sizeBytes - (number - 1) * partBytes);
  }

  async function lane(): Promise<void> {
    for (let number = todo.shift(); number !== undefined && failure === null; number = todo.shift()) {
      const range = { path, offset: (number - 1) * partBytes, sizeBytes: sizeOf(number) };
      const piece = { ...range, sha256: await sha256Of(range) };
      const where = { place: options.place ?? PLACE_OF_KEY, sha256, id, number };
      const put = () => putPart(connection, where, piece, options.signal);
      let answer = await untilAnswered(put, options);
      for (let tries = 1; tries < TRIES_MAX && !answer.ok && isDamage(answer); tries++) {
        await pause(retryMs(tries, options), options.signal);
        answer = await untilAnswered(put, options);
      }
      if (!answer.ok) failure ??= answer;
      else options.onProgress?.((sentBytes += piece.sizeBytes));
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane));
  return failure;
}

const isDamage = (answer: Refused | Unreachable) => answer.kind === 'refused' && answer.code === 'hash_mismatch';

async function sha256Of({ path, offset, sizeBytes }: { path: string; offset: number; sizeBytes: number }) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { start: offset, end: offset + sizeBytes - 1 })) hash.update(chunk);
  return hash.digest('hex');
}
