/** Defines what a store says before a build: whether its app could be submitted. */
import type { SubmissionReason } from '#contract';

export interface StoreCheck {
  /** Why the store would refuse the app. */
  refusals: { reason: SubmissionReason; storeWords: string | null }[];
  /** Questions that the store could not answer, and notes for people. */
  warnings: string[];
}
