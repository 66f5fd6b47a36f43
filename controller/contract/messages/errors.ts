/** How the controller refuses, and what `GET /health` answers. */
import { z } from 'zod';
import { bytes, time } from './fields.ts';

export const ErrorBody = z.object({
  error: z.object({ code: z.string(), message: z.string() }),
  /** On a refused heartbeat: the attempt is over, stop working on it. */
  action: z.literal('stop').optional(),
  /** With `wrong_offset`: where the log stands. */
  expectedOffset: bytes.optional(),
});
export type ErrorBody = z.infer<typeof ErrorBody>;

export const Health = z.object({ status: z.literal('ok'), time: time });
export type Health = z.infer<typeof Health>;
