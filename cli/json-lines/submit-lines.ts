/** Defines the lines of `submit --json` before the build begins. Warnings have the lines of `pack`. */
import { z } from 'zod';
import { Build } from '#contract';

const bytes = z.number().int().nonnegative();

export const SUBMIT_LINES = [
  /** The archive of the source, as it is on this disk. `sizeBytes` are those of its files. */
  z.strictObject({
    type: z.literal('packed'),
    files: z.number().int(),
    sizeBytes: bytes,
    archiveBytes: bytes,
    sha256: z.string(),
  }),
  /** `sentBytes` is 0 if the controller had the archive already. */
  z.strictObject({ type: z.literal('uploaded'), sha256: z.string(), sentBytes: bytes }),
  /** `address` is that of the build in the API. */
  z.strictObject({ type: z.literal('submitted'), build: Build, address: z.string() }),
] as const;
