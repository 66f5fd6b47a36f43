/** Defines the answer that refuses a request, and the answer of `GET /health`. */
import { z } from 'zod';
import { bytes, lenient, time } from '../fields.ts';
import { Outcome } from './reports.ts';

export const ErrorBody = z.object({
  error: z.object({ code: z.string(), message: z.string() }),
  /** Set on a refused heartbeat if the attempt is over: the agent must stop working on it. */
  action: z.literal('stop').optional(),
  /** With `wrong_offset`: the length of the log. */
  expectedOffset: bytes.optional(),
  /** Set on a refused report whose attempt has ended: how it ended. Older controllers do not say it. */
  outcome: lenient(Outcome),
});
export type ErrorBody = z.infer<typeof ErrorBody>;

export const Health = z.object({ status: z.literal('ok'), time: time });
export type Health = z.infer<typeof Health>;
