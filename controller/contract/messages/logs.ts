/** The answer to an append to a log, and the headers of a log that is read. */
import { z } from 'zod';
import { bytes } from './fields.ts';

export const LogAppended = z.object({
  /** Bytes stored so far: the next offset. */
  length: bytes,
  /** How many follow right now: with nobody watching, the agent sends in larger batches. */
  followers: z.number().int(),
});
export type LogAppended = z.infer<typeof LogAppended>;

/** On a log read: the log's whole length so far, and whether it is complete. */
export const LOG_LENGTH_HEADER = 'X-Log-Length';

export const LOG_COMPLETE_HEADER = 'X-Log-Complete';
