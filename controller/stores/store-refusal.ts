/** Turns the objection of a store to a request into the refusal of that request. Pure. */
import type { SubmissionReason } from '#contract';
import { type Refusal, refusal } from '../refusals.ts';
import { explainReason } from './reasons.ts';

/** A store refuses a request, or there is no key for the store. */
export interface StoreRefusal extends Refusal {
  reason: SubmissionReason;
  /** Several store keys would do. */
  choice?: true;
}

/** The title, the store's own words, and what to do. */
export function storeRefusal({
  reason,
  storeWords,
}: {
  reason: SubmissionReason;
  storeWords: string | null;
}): StoreRefusal {
  const { title, advice } = explainReason(reason, storeWords);
  const said = storeWords === null ? '' : ` It said: ${storeWords}${/[.!?]$/.test(storeWords) ? '' : '.'}`;
  return { ...refusal('store_refused', `${title}.${said} ${advice}`), reason };
}
