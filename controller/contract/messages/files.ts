/** Defines uploads, of a blob in one request or in parts, and the log of a build. */
import { z } from 'zod';
import { bytes, Sha256 } from '../fields.ts';
import { UPLOAD_MAX_BYTES } from '../sizes.ts';

/** A header of each part: the SHA-256 of its bytes, in lower-case hex. */
export const PART_SHA256_HEADER = 'X-Part-SHA256';

export const BlobStored = z.object({ sha256: Sha256, size: bytes, existed: z.boolean() });
export type BlobStored = z.infer<typeof BlobStored>;

/** Begins an upload in parts, for a file larger than {@link BLOB_MAX_BYTES}. */
export const UploadRequest = z.object({ size: bytes.min(1).max(UPLOAD_MAX_BYTES) });

export const Upload = z.object({
  /** Null if the file was stored before: nothing needs to be sent. */
  id: z.string().nullable(),
  sha256: Sha256,
  size: bytes,
  /**
   * `verifying`: all parts arrived and are being read back, so ask again. Only `stored` makes the file
   * usable.
   */
  state: z.enum(['open', 'verifying', 'stored']),
  /** The size of every part but the last. */
  partBytes: z.number().int().min(1),
  /** The numbers of the parts that have arrived, from 1. They need not be sent again. */
  parts: z.array(z.number().int()),
  verifiedBytes: bytes,
});
export type Upload = z.infer<typeof Upload>;

export const UploadPart = z.object({ part: z.number().int(), size: bytes });
export type UploadPart = z.infer<typeof UploadPart>;

export const LogAppended = z.object({
  /** The bytes stored so far, which is the next offset. */
  length: bytes,
  /** How many readers follow the log now. If nobody does, the agent sends in larger batches. */
  followers: z.number().int(),
});
export type LogAppended = z.infer<typeof LogAppended>;

/** Headers of a log that is read: its length so far, and whether it is complete. */
export const LOG_LENGTH_HEADER = 'X-Log-Length';

export const LOG_COMPLETE_HEADER = 'X-Log-Complete';
