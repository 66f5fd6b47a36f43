/**
 * Validates the input of a route by a zod schema. The refusal is `invalid_request` and names up to five
 * fields that do not fit.
 */
import { zValidator } from '@hono/zod-validator';
import type { ValidationTargets } from 'hono';
import { createMiddleware } from 'hono/factory';
import { z } from 'zod';
import { ATTEMPT_MAX, Id, Sha256, wordsOf } from '#contract';
import { answerRefusal, type Refusal, refusal } from './refusals.ts';

const ISSUES_NAMED_MAX = 5;
/** Enough for most messages. A route whose messages carry lists, texts or evidence sets its own limit. */
const JSON_MAX_BYTES = 16 * 1024;
/** No message of the contract nests deeper than six levels. */
const JSON_DEPTH_MAX = 32;

/** A middleware that validates one target. Only `json` uses `maxBytes`. */
export const valid = <Target extends keyof ValidationTargets, Schema extends z.ZodType>(
  target: Target,
  schema: Schema,
  maxBytes = JSON_MAX_BYTES,
) => {
  const validator = zValidator(target, schema, (result, c) =>
    result.success ? undefined : answerRefusal(c, invalidRequest(result.error)),
  );
  return target === 'json' ? (validJson(schema, maxBytes) as unknown as typeof validator) : validator;
};

/** As `valid('json', …)`, for a route that needs no body: an empty one counts as `{}`. */
export const validIfAny = <Schema extends z.ZodType>(schema: Schema) => {
  const validator = zValidator('json', schema);
  return validJson(schema, JSON_MAX_BYTES, true) as unknown as typeof validator;
};

/**
 * Does for `json` what zValidator does, but demands the content type and bounds size and depth, because a
 * body may be hostile.
 */
const validJson = (schema: z.ZodType, maxBytes: number, mayBeEmpty = false) =>
  createMiddleware(async (c, next) => {
    const empty = mayBeEmpty && (c.req.raw.body === null || c.req.header('Content-Length') === '0');
    if (!empty && !/^application\/json\s*(;|$)/i.test(c.req.header('Content-Type') ?? ''))
      return answerRefusal(c, refusal('invalid_request', 'Content-Type: must be application/json'));
    const read = empty ? { ok: true as const, value: {} } : await readJson(c.req.raw, maxBytes);
    if (!read.ok) return answerRefusal(c, read);
    const result = await schema.safeParseAsync(read.value);
    if (!result.success) return answerRefusal(c, invalidRequest(result.error));
    c.req.addValidatedData('json', result.data as object);
    return next();
  });

/** Reads the body as JSON. Refused: `too_large`, `invalid_request`. */
export async function readJson(request: Request, maxBytes: number): Promise<{ ok: true; value: unknown } | Refusal> {
  const bytes = await readBody(request, maxBytes);
  if (!bytes) return refusal('too_large', `the body is larger than ${maxBytes} bytes`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    return refusal('invalid_request', 'the body is not UTF-8');
  }
  if (isDeeperThan(JSON_DEPTH_MAX, text))
    return refusal('invalid_request', `the body nests deeper than ${JSON_DEPTH_MAX} levels`);
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    return refusal('invalid_request', 'the body is not JSON');
  }
}

/** Reads the body. Null if it has more than `maxBytes`, even if the headers say otherwise. */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array<ArrayBuffer> | null> {
  if (Number(request.headers.get('Content-Length') ?? 0) > maxBytes) return null;
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const part of request.body ?? []) {
    size += part.byteLength;
    if (size > maxBytes) return null;
    parts.push(new Uint8Array(part));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Counts brackets outside of strings, before anything is parsed. Pure. */
export function isDeeperThan(max: number, json: string): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < json.length; i++) {
    const c = json[i];
    if (inString) {
      if (c === '\\') i++;
      else if (c === '"') inString = false;
    } else if (c === '"') inString = true;
    else if (c === '[' || c === '{') {
      if (++depth > max) return true;
    } else if (c === ']' || c === '}') depth--;
  }
  return false;
}

/** Composes the refusal: `field.path: what is wrong with it; …`. */
export function invalidRequest(error: z.core.$ZodError): Refusal {
  const lines = error.issues.slice(0, ISSUES_NAMED_MAX).map((issue) => {
    const fields = issue.code === 'unrecognized_keys' ? issue.keys : [];
    const path = [...issue.path.map(String), ...(fields.length > 0 ? [fields.join(', ')] : [])].join('.');
    return path === '' ? wordsOf(issue) : `${path}: ${wordsOf(issue)}`;
  });
  return refusal('invalid_request', lines.join('; '));
}

/** A whole number in a path or a query. */
export const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be from ${min} to ${max}`);

export const IdParam = z.object({ id: Id });
export const Sha256Param = z.object({ sha256: Sha256 });
export const AttemptNumber = wholeNumber(1, ATTEMPT_MAX);
