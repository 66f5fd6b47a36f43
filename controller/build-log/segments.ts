/**
 * Lays out a sealed log in R2: one gzip object for each 4 MiB of the log. Any offset is then one small read
 * away, and sealing holds one segment in memory, even for a long log. Pure, except for one read of R2.
 *
 *   logs/BUILD/ATTEMPT/0.gz   bytes 0 to 4 MiB
 *   logs/BUILD/ATTEMPT/1.gz   …
 */
export const SEGMENT_BYTES = 4 * 1024 * 1024;

export const logPrefix = (buildId: string, attempt: number): string => `logs/${buildId}/${attempt}`;

/** The object that holds the log's byte at `offset`. */
export const segmentKey = (prefix: string, offset: number): string =>
  `${prefix}/${Math.floor(offset / SEGMENT_BYTES)}.gz`;

/** How many bytes of the segment of `offset` are left. A read of these unpacks one segment. */
export const toSegmentEnd = (offset: number): number => SEGMENT_BYTES - (offset % SEGMENT_BYTES);

export const compressSegment = (raw: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> =>
  new Response(new Blob([raw]).stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer();

/** Reads exactly `size` bytes from `offset`. Throws if the log ends before. */
export async function readSegments(
  bucket: R2Bucket,
  prefix: string,
  offset: number,
  size: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const result = new Uint8Array(size);
  for (let done = 0; done < size; ) {
    const key = segmentKey(prefix, offset + done);
    const object = await bucket.get(key);
    if (!object) throw new Error(`${key} of the sealed log is missing in R2`);
    const raw = await new Response(object.body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
    const start = (offset + done) % SEGMENT_BYTES;
    const part = new Uint8Array(raw).subarray(start, start + size - done);
    if (part.byteLength === 0) throw new Error(`the sealed log ends before byte ${offset + size}, in ${key}`);
    result.set(part, done);
    done += part.byteLength;
  }
  return result;
}
