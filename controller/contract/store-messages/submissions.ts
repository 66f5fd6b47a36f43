/**
 * Defines submissions: a request to a store for an artifact of a build, and its progress.
 */
import { z } from 'zod';
import { STORES, type Store, SUBMISSION_REASONS, SUBMISSION_STATES } from '../closed-lists.ts';
import { ArtifactName, bytes, Id, line, lines, text, time } from '../fields.ts';
import {
  STORE_WORDS_MAX,
  SUBMISSION_EVENTS_MAX,
  SUBMISSION_WARNINGS_MAX,
  TESTER_GROUPS_MAX,
  WHAT_TO_TEST_MAX,
} from '../sizes.ts';
import { AscAppId, AscKeyId } from './store-keys.ts';

const common = {
  /** The name of the store key. Left out: the one of the project that is for this app. */
  storeKey: Id.optional(),
  /** Left out: the only artifact of the kind that the store takes. */
  artifact: ArtifactName.optional(),
};

/** Names the store of a field that belongs to the other one. Any other unknown field gets the usual words. */
const onlyOf = (other: Store, fields: () => object) => ({
  error: ({ code, keys }: { code?: string; keys?: readonly string[] }) =>
    code === 'unrecognized_keys' && keys?.every((key) => key in fields())
      ? `is for ${other} alone; leave it out`
      : undefined,
});

const appStoreFields = {
  store: z.literal('app-store-connect'),
  ...common,
  /** Left out: the app is looked up by its bundle id. */
  ascAppId: AscAppId.optional(),
  /** As eas.json has it. It is compared with the id of the stored key. */
  ascApiKeyId: AscKeyId.optional(),
  /** Names of internal groups of testers. */
  groups: z.array(line(200)).max(TESTER_GROUPS_MAX).optional(),
  whatToTest: lines(WHAT_TO_TEST_MAX).optional(),
  /** The language of `whatToTest`. */
  locale: z
    .string()
    .regex(/^[a-z]{2,3}(-[A-Za-z]{2,4})?$/, 'must be a locale, such as en-US')
    .default('en-US'),
};

export const AppStoreSubmit = z.strictObject(
  appStoreFields,
  onlyOf('google-play', () => playFields),
);
export type AppStoreSubmit = z.infer<typeof AppStoreSubmit>;

export const RELEASE_STATUSES = ['completed', 'draft', 'halted', 'inProgress'] as const;

const playFields = {
  store: z.literal('google-play'),
  ...common,
  track: z
    .string()
    .regex(/^[A-Za-z0-9._: -]{1,100}$/, 'must be the name of a track, such as internal or production')
    .default('internal'),
  releaseStatus: z.enum(RELEASE_STATUSES).default('completed'),
  /** The fraction of users, above 0 and at most 1. Needed with `inProgress`, and refused otherwise. */
  rollout: z.number().gt(0, 'must be above 0').max(1, 'must be at most 1').optional(),
  changesNotSentForReview: z.boolean().default(false),
};

export const PlaySubmit = z.strictObject(
  playFields,
  onlyOf('app-store-connect', () => appStoreFields),
);
export type PlaySubmit = z.infer<typeof PlaySubmit>;

interface Released {
  store: string;
  releaseStatus?: string | undefined;
  rollout?: number | undefined;
}

const rolloutFits = ({ store, releaseStatus, rollout }: Released): boolean =>
  store !== 'google-play' || (releaseStatus === 'inProgress') === (rollout !== undefined);

const ROLLOUT = { path: ['rollout'], message: 'is needed with releaseStatus inProgress, and with no other' };

/** The submission that a build asks for. The controller begins it as soon as the build has succeeded. */
export const SubmitOptions = z.discriminatedUnion('store', [AppStoreSubmit, PlaySubmit]).refine(rolloutFits, ROLLOUT);
export type SubmitOptions = z.infer<typeof SubmitOptions>;

const name = { idempotencyKey: text(128).min(1).optional() };

/** Asks to submit an artifact of a build that has succeeded. */
export const SubmissionRequest = z
  .discriminatedUnion('store', [AppStoreSubmit.extend(name), PlaySubmit.extend(name)])
  .refine(rolloutFits, ROLLOUT);
export type SubmissionRequest = z.infer<typeof SubmissionRequest>;

export const SubmissionFailure = z.object({
  code: z.enum(SUBMISSION_REASONS),
  title: z.string(),
  explanation: z.string(),
  advice: z.string(),
  /** The controller's own finding, in one sentence. */
  message: z.string().nullable().default(null),
  /** The answer of the store, in its own words. */
  storeWords: z.string().max(STORE_WORDS_MAX).nullable(),
});
export type SubmissionFailure = z.infer<typeof SubmissionFailure>;

export const SubmissionEvent = z.object({
  at: time,
  state: z.enum(SUBMISSION_STATES),
  /** One sentence. */
  says: z.string(),
});
export type SubmissionEvent = z.infer<typeof SubmissionEvent>;

export const Submission = z.object({
  id: z.string(),
  buildId: z.string(),
  projectId: z.string(),
  store: z.enum(STORES),
  state: z.enum(SUBMISSION_STATES),
  failure: SubmissionFailure.nullable(),
  warnings: z.array(z.string()).max(SUBMISSION_WARNINGS_MAX),
  artifact: z.object({ name: z.string(), attempt: z.number().int(), sha256: z.string(), size: bytes }),
  app: z.object({ id: z.string(), version: z.string(), buildNumber: z.string() }),
  options: SubmitOptions,
  storeKey: z.object({ name: z.string(), version: z.number().int() }),
  sentBytes: bytes,
  createdBy: z.object({ keyId: z.string(), name: z.string().nullable() }),
  createdAt: time,
  updatedAt: time,
  endedAt: time.nullable(),
});
export type Submission = z.infer<typeof Submission>;

export const SubmissionDetail = Submission.extend({ timeline: z.array(SubmissionEvent).max(SUBMISSION_EVENTS_MAX) });
export type SubmissionDetail = z.infer<typeof SubmissionDetail>;

export const SubmissionList = z.object({
  submissions: z.array(Submission),
  nextCursor: z.string().nullable().default(null),
});
export type SubmissionList = z.infer<typeof SubmissionList>;

/** The submission that a build asks for, as the build shows it. */
export const BuildSubmit = z.object({
  options: SubmitOptions,
  /** The checks that the store could not answer when the build was requested. */
  warnings: z.array(z.string()),
  /**
   * Why nothing was submitted after the build had succeeded. Before that, why nothing will be: the build is a
   * retry, and the key that retried may not submit.
   */
  failure: SubmissionFailure.nullable(),
});
export type BuildSubmit = z.infer<typeof BuildSubmit>;
