/** The boundary of a route: what does not fit the schema is answered with `invalid_request` that names each field. */
import { zValidator } from '@hono/zod-validator';
import type { ValidationTargets } from 'hono';
import { z } from 'zod';
import { Sha256 } from './contract.ts';
import { answerRefusal, type Refusal, refusal } from './errors.ts';

const ISSUES_NAMED_MAX = 5;

export const valid = <Target extends keyof ValidationTargets, Schema extends z.ZodType>(
  target: Target,
  schema: Schema,
) =>
  zValidator(target, schema, (result, c) =>
    result.success ? undefined : answerRefusal(c, invalidRequest(result.error)),
  );

/** `field.path: what is wrong with it; …` */
export function invalidRequest(error: z.core.$ZodError): Refusal {
  const lines = error.issues
    .slice(0, ISSUES_NAMED_MAX)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.map(String).join('.')}: ${message}`));
  return refusal('invalid_request', lines.join('; '));
}

/** A whole number in a path or a query. */
export const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be from ${min} to ${max}`);

export const Id = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 characters of A-Z a-z 0-9 . _ -');
export const IdParam = z.object({ id: Id });
export const Sha256Param = z.object({ sha256: Sha256 });
export const AttemptNumber = wholeNumber(1, 1_000);
