/**
 * Moves one file between this disk and the controller.
 *
 * Invariant: it holds no whole file in memory. A transfer ends when it makes no progress for too long,
 * however large the file is.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { z } from 'zod';
import { BlobStored, PART_SHA256_HEADER, UploadPart } from '#contract';
import { type Answer, answerOf, failureOf, unreachable } from './answer.ts';
import type { Connection } from './request.ts';
import { awakeMs } from './running-clock.ts';

/** A file on this disk, with its size and hash. */
export interface LocalFile {
  path: string;
  sizeBytes: number;
  sha256: string;
}

/** The owner of the uploaded files, which decides their addresses: all are below `path`. */
export interface BlobPlace {
  path: string;
}

/** For the key: for its project, its lineage, or its worker. */
export const PLACE_OF_KEY: BlobPlace = { path: '/api/blobs' };
/** For the attempt of the token that asks. */
export const placeOfAttempt = (buildId: string): BlobPlace => ({
  path: `/api/builds/${encodeURIComponent(buildId)}/blobs`,
});

export const blobPath = ({ path }: BlobPlace, rest: string): string => `${path}/${rest}`;

/**
 * Asks whether a file with this hash was stored there before. If it was, the controller keeps it for at least
 * another day.
 */
export const findBlob = (
  connection: Connection,
  sha256: string,
  signal?: AbortSignal,
  place = PLACE_OF_KEY,
): Promise<Answer<BlobStored>> =>
  connection.call({ method: 'GET', path: blobPath(place, sha256), answer: BlobStored, signal });

/** Uploads a file under its own hash, in one request. */
export const putBlob = (
  connection: Connection,
  file: LocalFile,
  signal?: AbortSignal,
  place = PLACE_OF_KEY,
  onProgress?: (sentBytes: number) => void,
): Promise<Answer<BlobStored>> =>
  putBytes(connection, blobPath(place, file.sha256), { ...file, offset: 0 }, {}, BlobStored, signal, onProgress);

/** Uploads one part of a file: `sizeBytes` of it from `offset`. `sha256` is the hash of the part. */
export const putPart = (
  connection: Connection,
  { place, sha256, id, number }: { place: BlobPlace; sha256: string; id: string; number: number },
  part: LocalFile & { offset: number },
  signal?: AbortSignal,
): Promise<Answer<UploadPart>> =>
  putBytes(
    connection,
    blobPath(place, `${sha256}/uploads/${encodeURIComponent(id)}/parts/${number}`),
    part,
    { [PART_SHA256_HEADER]: part.sha256 },
    UploadPart,
    signal,
  );

async function putBytes<T>(
  connection: Connection,
  urlPath: string,
  { path, offset, sizeBytes }: { path: string; offset: number; sizeBytes: number },
  headers: Record<string, string>,
  answer: z.ZodType<T>,
  signal?: AbortSignal,
  onProgress?: (sentBytes: number) => void,
): Promise<Answer<T>> {
  using stall = stallTimer(connection.transferStallMs, signal);
  const end = offset + sizeBytes - 1;
  const body = sizeBytes === 0 ? Readable.from([]) : createReadStream(path, { start: offset, end });
  let sentBytes = 0;
  body.on('data', (chunk: Buffer) => {
    stall.touch();
    onProgress?.((sentBytes += chunk.length));
  });
  body.on('error', () => {});
  try {
    const response = await connection.open('PUT', urlPath, stall.signal, {
      // The exact length, because R2 does not accept a body of unknown length.
      headers: { ...headers, 'content-type': 'application/octet-stream', 'content-length': String(sizeBytes) },
      body: Readable.toWeb(body),
      duplex: 'half',
    });
    return await answerOf(response, answer);
  } catch (error) {
    return unreachable(error, signal);
  } finally {
    body.destroy();
  }
}

/**
 * Downloads to a file, and continues at its end if an earlier call left one. A wrong length or hash is
 * `unreachable`, because the bytes that arrived were not the answer. The next call then downloads the whole
 * file again.
 */
export async function downloadFile(
  connection: Connection,
  urlPath: string,
  target: LocalFile,
  signal?: AbortSignal,
  onBytes?: (sizeBytes: number) => void,
): Promise<Answer<{ sizeBytes: number }>> {
  using stall = stallTimer(connection.transferStallMs, signal);
  try {
    const there = await stat(target.path).then(
      ({ size }) => size,
      () => 0,
    );
    const from = there < target.sizeBytes ? there : 0;
    const response = await connection.open('GET', urlPath, stall.signal, {
      // If the controller now has another file, it sends all of it, and the hash shows the difference.
      headers: from > 0 ? { range: `bytes=${from}-`, 'if-range': `"${target.sha256}"` } : {},
    });
    const resumed = response.status === 206;
    if ((response.status !== 200 && !resumed) || !response.body) return await failureOf(response);
    const hash = createHash('sha256');
    let sizeBytes = resumed ? from : 0;
    if (resumed) for await (const chunk of createReadStream(target.path, { end: from - 1 })) hash.update(chunk);
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        stall.touch();
        sizeBytes += chunk.length;
        onBytes?.(sizeBytes);
        hash.update(chunk);
        done(sizeBytes > target.sizeBytes ? new Error('more bytes arrived than announced') : null, chunk);
      },
    });
    const file = createWriteStream(target.path, { mode: 0o600, flags: resumed ? 'a' : 'w' });
    await pipeline(Readable.fromWeb(response.body), meter, file, { signal: stall.signal });
    if (sizeBytes === target.sizeBytes && hash.digest('hex') === target.sha256)
      return { ok: true, value: { sizeBytes } };
    // A short file can continue later. A whole file with a wrong hash is useless.
    if (sizeBytes >= target.sizeBytes) await rm(target.path, { force: true });
    return {
      ok: false,
      kind: 'unreachable',
      message: `the file arrived damaged (${sizeBytes} of ${target.sizeBytes} bytes)`,
    };
  } catch (error) {
    const { size = 0 } = await stat(target.path).catch(() => ({ size: 0 }));
    if (size >= target.sizeBytes) await rm(target.path, { force: true });
    return unreachable(error, signal);
  }
}

/** Ends a transfer that makes no progress. Its signal aborts when nobody calls `touch` for `stallMs`. */
interface StallTimer extends Disposable {
  readonly signal: AbortSignal;
  touch: () => void;
  /** True while our own reader is slow, as `less` is. Then the controller does not stall. */
  isHeld: boolean;
}

export function stallTimer(stallMs: number, outer?: AbortSignal): StallTimer {
  const controller = new AbortController();
  let touchedAtMs = awakeMs();
  let timer = setTimeout(look, stallMs);
  function look() {
    if (stall.isHeld) stall.touch();
    const leftMs = touchedAtMs + stallMs - awakeMs();
    if (leftMs > 0) timer = setTimeout(look, leftMs);
    else controller.abort(new DOMException('stalled', 'TimeoutError'));
  }
  const stall: StallTimer = {
    signal: outer ? AbortSignal.any([outer, controller.signal]) : controller.signal,
    touch: () => {
      touchedAtMs = awakeMs();
    },
    isHeld: false,
    [Symbol.dispose]: () => clearTimeout(timer),
  };
  return stall;
}
