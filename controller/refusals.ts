/**
 * Turns a refusal, a value inside the controller, into `{"error":{"code","message"}}` with an HTTP status.
 *
 * Invariant: only this file maps a code to a status. A bug is no refusal. It throws, and app.ts logs it once
 * and answers `internal`.
 */
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { ErrorBody, ErrorCode, Outcome } from '#contract';

/** The period of the request counters, as in wrangler.toml. After it a caller may ask again. */
export const RATE_PERIOD_S = 10;

export interface Refusal {
  ok: false;
  code: ErrorCode;
  message: string;
  /** With `wrong_offset`: the length of the log. */
  expectedOffset?: number;
}

export const refusal = (code: ErrorCode, message: string): Refusal => ({ ok: false, code, message });

const STATUS = {
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  stale_attempt: 409,
  illegal_transition: 409,
  worker_in_use: 409,
  artifact_not_stored: 409,
  blob_not_stored: 409,
  upload_incomplete: 409,
  idempotency_mismatch: 409,
  project_deleted: 409,
  project_in_use: 409,
  submission_exists: 409,
  // Not 503, because a client asks again after that, and only the owner of the deployment can set the URL.
  public_url_missing: 409,
  attempt_ended: 410,
  log_sealed: 410,
  too_large: 413,
  wrong_offset: 416,
  hash_mismatch: 422,
  // Not 409 or 410: with those an agent understands that its attempt has ended, and reports nothing.
  inputs_gone: 422,
  contract_too_old: 426,
  too_many: 429,
  rate_limited: 429,
  internal: 500,
  number_not_seeded: 422,
  store_refused: 422,
  not_installable: 422,
  inputs_key_missing: 503,
  unavailable: 503,
} as const satisfies Record<ErrorCode, ContentfulStatusCode>;

/** The fields that an answer may have beside the code and the message of its refusal. */
type Extra = { action?: 'stop'; outcome?: Outcome | undefined };

export function answerRefusal(c: Context, { code, message, expectedOffset }: Refusal, extra: Extra = {}) {
  const body: ErrorBody = { error: { code, message }, ...extra };
  if (expectedOffset !== undefined) body.expectedOffset = expectedOffset;
  if (code === 'unauthorized') c.header('WWW-Authenticate', 'Bearer');
  if (code === 'rate_limited') c.header('Retry-After', String(RATE_PERIOD_S));
  return c.json(body, STATUS[code]);
}
