/** Says what a refusal of Google Play means, from its status, its reasons and its words. Pure. */
import type { SubmissionReason } from '#contract';
import type { StoreAnswer } from './store-request.ts';
import { words } from './store-request.ts';

/** The last two mean only that Google has refused. The request decides what such a refusal means. */
export type PlayMeaning =
  | SubmissionReason
  /** The edit cannot be used any more. A new one begins anew. */
  | 'edit_gone'
  | 'version_code_used'
  | 'review_by_hand'
  | 'review_automatic'
  | 'token_refused'
  /** Retry later, without a change. */
  | 'busy'
  /** Google has a fault of its own. It may or may not have done what was asked. */
  | 'faulty'
  | 'not_found'
  | 'refused';

interface Said {
  status: number;
  reasons: readonly string[];
  message: string;
}

/** The first row that fits counts. Google's texts are matched, because most refusals have the same reason. */
const MEANINGS: readonly [PlayMeaning, RegExp, ...string[]][] = [
  ['edit_gone', /edit has (been deleted|expired|already been)/i, 'editDeleted', 'editExpired', 'editNotFound'],
  [
    'version_code_used',
    /version code .*already been used|same version code as an|cannot update a published/i,
    'apkUpgradeVersionConflict',
    'replacingBundleWithApk',
  ],
  ['draft_app', /status draft may be created on draft app/i, 'rolloutNotPermittedOnDraftApp'],
  ['review_by_hand', /cannot be sent for review automatically/i],
  ['review_automatic', /changesNotSentForReview must not be set/i],
  ['faulty', /uploads are not completed yet|internal error encountered/i],
  [
    'quota_used_up',
    /daily save quota|\bper day\b|daily limit/i,
    'publishingDailySaveQuotaExceeded',
    'dailyLimitExceeded',
  ],
  ['busy', /quota exceeded/i, 'rateLimitExceeded', 'userRateLimitExceeded', 'concurrentUpdate'],
  ['app_not_found', /package not found/i, 'applicationNotFound'],
  ['sdk_too_old', /target api level|targets api level|targetsdk/i],
  ['app_mismatch', /wrong package name/i],
  [
    'role_missing',
    /caller does not have permission|insufficient permission|has not been used in project|it is disabled/i,
    'accessNotConfigured',
    'userInsufficientPermission',
  ],
];

export function meaningOf(said: Said): PlayMeaning {
  const row = MEANINGS.find(
    ([, text, ...reasons]) => text.test(said.message) || reasons.some((r) => said.reasons.includes(r)),
  );
  if (row) return row[0];
  if (said.status === 401) return 'token_refused';
  if ([408, 409, 429].includes(said.status)) return 'busy';
  if (said.status >= 500) return 'faulty';
  return said.status === 404 || said.status === 410 ? 'not_found' : 'refused';
}

/** An answer of Google Play that refuses. Its message has no token in it. */
export class PlayRefused extends Error {
  readonly status: number;
  readonly meaning: PlayMeaning;
  /** The pause that `Retry-After` asks for. */
  readonly afterMs: number | undefined;

  constructor(status: number, meaning: PlayMeaning, said: string, afterMs?: number) {
    super(words(said));
    this.status = status;
    this.meaning = meaning;
    this.afterMs = afterMs;
  }
}

export function playRefused(answer: StoreAnswer): PlayRefused {
  const { status, headers, text, json } = answer;
  const { message, reasons } = errorOf(json);
  // We follow no redirect, and no part of the API answers one.
  if (status >= 300 && status < 400) return new PlayRefused(status, 'faulty', `Google Play answered ${status}.`);
  const meaning = meaningOf({ status, reasons, message: message ?? text });
  return new PlayRefused(
    status,
    meaning,
    message ?? (text || `Google Play answered ${status}.`),
    retryAfterMs(headers),
  );
}

const RETRY_AFTER_MAX_S = 900;

function retryAfterMs(headers: Headers): number | undefined {
  const seconds = /^\d{1,6}$/.exec(headers.get('Retry-After') ?? '')?.[0];
  return seconds === undefined ? undefined : Math.min(Number(seconds), RETRY_AFTER_MAX_S) * 1000;
}

function errorOf(json: unknown): { message: string | null; reasons: string[] } {
  const error = field(json, 'error');
  const message = field(error, 'message');
  const errors = field(error, 'errors');
  const reasons = Array.isArray(errors) ? errors.map((each) => field(each, 'reason')) : [];
  return {
    message: typeof message === 'string' ? message : null,
    reasons: reasons.filter((reason) => typeof reason === 'string'),
  };
}

/** A field of the answer of a store. */
export const field = (of: unknown, name: string): unknown =>
  typeof of === 'object' && of !== null ? (of as Record<string, unknown>)[name] : undefined;
