/** Defines the refusal of a request that a store, or the lack of a key for it, stands against. */
import type { SubmissionReason } from '#contract';
import type { Refusal } from '../refusals.ts';

export interface StoreRefusal extends Refusal {
  reason: SubmissionReason;
}
