/**
 * Says what a refusal of App Store Connect means, from its status, its codes and its words. Pure.
 *
 * The codes come from two places: the API refuses a request with codes such as FORBIDDEN_ERROR, and the
 * processing of an upload ends with numbers, those of Apple's mails (ITMS-90189).
 */
import type { SubmissionReason } from '#contract';
import type { StepResult } from '../step.ts';
import { ForeignAddress, type StoreAnswer, StoreUnreachable, words } from '../store-request.ts';
import type { StoreError } from './answers.ts';

/** App Store Connect has answered no. Its message has no token in it. */
export class AppStoreRefused extends Error {
  readonly status: number;
  readonly errors: readonly StoreError[];

  constructor(status: number, errors: readonly StoreError[]) {
    super(wordsOf(errors) || `App Store Connect answered ${status}.`);
    this.status = status;
    this.errors = errors;
  }

  has(code: RegExp): boolean {
    return this.errors.some((error) => code.test(error.code));
  }
}

/** App Store Connect asks for patience. Whether it has done what was asked is unknown. */
export class AppStoreBusy extends Error {
  readonly afterMs: number | undefined;

  constructor(answer: StoreAnswer) {
    super(`App Store Connect answered ${answer.status}.`);
    const seconds = Number(answer.headers.get('Retry-After') ?? Number.NaN);
    if (Number.isFinite(seconds) && seconds >= 0) this.afterMs = Math.min(seconds, RETRY_AFTER_MAX_S) * 1_000;
  }
}

const RETRY_AFTER_MAX_S = 600;

/** The meanings of errors of a refusal or a failed upload. The first row that fits one of them counts. */
const MEANINGS: readonly (readonly [SubmissionReason, RegExp])[] = [
  ['build_number_used', /\b90189\b|(?<!\d)-?19232\b|\bDUPLICATE\b|redundant binary upload/i],
  ['version_closed', /\b(90062|90186|90478)\b/],
  ['app_mismatch', /\b(90054|90055)\b/],
  ['purpose_text_missing', /\b90683\b/],
  ['sdk_too_old', /\b90725\b/],
  ['agreement_missing', /REQUIRED_AGREEMENTS|\brequired agreement\b/i],
  ['upload_damaged', /CHECKSUM/i],
];

export function meaningOf(errors: readonly StoreError[]): SubmissionReason | null {
  const fits = (pattern: RegExp) => errors.some(({ code, text }) => pattern.test(code) || pattern.test(text));
  return MEANINGS.find(([, pattern]) => fits(pattern))?.[0] ?? null;
}

/** The reason of a refused request. Only the caller knows the meaning of a 404. */
export function reasonOf(refused: AppStoreRefused): SubmissionReason {
  const known = meaningOf(refused.errors);
  if (known) return known;
  if (refused.status === 401) return 'key_refused';
  return refused.status === 403 ? 'role_missing' : 'build_refused';
}

export const wordsOf = (errors: readonly StoreError[]): string =>
  words(errors.map(({ code, text }) => (code ? `${text} (${code})` : text)).join(' '));

export const failed = (reason: SubmissionReason, storeWords: string | null): StepResult => ({
  kind: 'failed',
  reason,
  storeWords,
});

/** The result of a step for an error that it does not handle itself. Null: it is no error of the store. */
export function resultOf(error: unknown): StepResult | null {
  if (error instanceof StoreUnreachable) return { kind: 'retry', why: error.message };
  if (error instanceof AppStoreBusy) return { kind: 'retry', why: error.message, afterMs: error.afterMs };
  if (error instanceof ForeignAddress) return failed('upload_not_allowed', error.message);
  if (error instanceof AppStoreRefused) return failed(reasonOf(error), error.message);
  return null;
}
