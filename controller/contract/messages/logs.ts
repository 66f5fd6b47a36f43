/** Defines the answer to an append to a log, and the headers of a log that is read. */
import { z } from 'zod';
import { bytes } from './fields.ts';

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
