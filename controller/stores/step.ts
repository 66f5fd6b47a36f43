/**
 * Defines a store for a submission: a list of named steps. store-upload.ts runs them one by one and stores
 * the data that each leaves. app-store.ts and play.ts have the steps.
 *
 * Invariant: a step may be repeated at any time, because the process may die, or the answer be lost, at any
 * point of it. So a step that makes something in the store first looks whether an earlier try has made it.
 */
import type { SubmissionReason, SubmitOptions } from '#contract';

/** The longest pause of a submission, even if its step asks for a longer one. */
export const PAUSE_MAX_MS = 10 * 60_000;

/** The base addresses of the stores. Only the Worker of a test has others than {@link STORE_ADDRESSES}. */
export interface StoreAddresses {
  /** App Store Connect. */
  appStoreConnect: string;
  /** Where Google gives access tokens for signed assertions. It is the audience of an assertion, too. */
  googleToken: string;
  googlePlay: string;
  /** Bytes go to a URL that the store has answered. Its host is one of these or below it. */
  uploadHosts: { apple: readonly string[]; google: readonly string[] };
  /** Whether `http:` is allowed. */
  insecure: boolean;
}

export const STORE_ADDRESSES: StoreAddresses = {
  appStoreConnect: 'https://api.appstoreconnect.apple.com',
  googleToken: 'https://oauth2.googleapis.com/token',
  googlePlay: 'https://androidpublisher.googleapis.com',
  uploadHosts: { apple: ['apple.com'], google: ['googleapis.com'] },
  insecure: false,
};

/** The private part of a store key, opened for the call that needs it, and never stored. */
export type OpenedStoreKey =
  | { store: 'app-store-connect'; keyId: string; issuerId: string | null; privateKey: string }
  | { store: 'google-play'; clientEmail: string; privateKeyId: string; privateKey: string };

/** The file to upload. The agent has read `app` from the verified bytes. */
interface SubmittedArtifact {
  name: string;
  kind: 'ipa' | 'aab' | 'apk';
  size: number;
  sha256: string;
  app: { id: string; version: string; buildNumber: string; usesNonExemptEncryption: boolean | null };
}

/** The input of a step. */
export interface StepContext<Options = SubmitOptions> {
  artifact: SubmittedArtifact;
  options: Options;
  key: OpenedStoreKey;
  addresses: StoreAddresses;
  now: number;
  /** When the first chunk was about to be sent. Null before that: nothing in the store can be ours yet. */
  uploadBeganAt: number | null;
  /** Aborts when the step has used up its time. Every request of a step has it. */
  signal: AbortSignal;
  /** Bytes of the artifact, straight from R2. @throws {ArtifactGone} */
  bytes(offset: number, length: number): Promise<ReadableStream<Uint8Array>>;
}

export class ArtifactGone extends Error {}

/** The data that a step leaves for the next one. JSON. */
export interface StepData {
  /** Ids and offsets. */
  plain: Record<string, string | number | boolean | null>;
  /** Upload addresses and the like. Stored sealed, because anybody who has one can upload. */
  secret: Record<string, unknown>;
}

export type StepResult =
  /** Go on with this step at once. It may be the same one again, with other data: the next chunks. */
  | { kind: 'next'; step: string; data: StepData; sentBytes?: number; warnings?: string[]; says?: string }
  /** Ask again later: the store is still working. `data` as it now is. */
  | { kind: 'wait'; afterMs: number; data: StepData; says?: string }
  /** A failure that may pass. Repeated with a growing pause, until the step's time is up. */
  | { kind: 'retry'; why: string; afterMs?: number }
  | { kind: 'failed'; reason: SubmissionReason; storeWords: string | null }
  | { kind: 'done'; warnings?: string[]; says: string };

export interface Step<Options = SubmitOptions> {
  /** The state of the submission while this step runs. */
  state: 'waiting' | 'uploading' | 'processing';
  /** All tries of the step together, in milliseconds; for chunks, since the last byte arrived. */
  limitMs: number;
  /**
   * Whether a cancellation still stops the store from getting the app, before this step has run. If not, the
   * store may have it already. A refusal of the key then says nothing of the app.
   */
  cancellable: boolean;
  /** The store has the build when this step runs. The step has no part in the time for processing. */
  isThere?: WithBuild;
  /** It would disturb another submission of the app in the store. So it waits for its turn. */
  takesTurns?: true;
  run(context: StepContext<Options>, data: StepData): Promise<StepResult>;
}

/**
 * Marks a step that does something with a build that the store has. A failure of such a step is a warning and
 * fails no submission. Only a cancellation ends the submission there.
 */
interface WithBuild {
  /** The work that a failure leaves out, as a part of a sentence. */
  what: string;
  /** The step that comes next all the same. Null: the submission is done. */
  next: string | null;
}

/** One store. */
export interface StoreSteps<Options = SubmitOptions> {
  first: string;
  steps: Readonly<Record<string, Step<Options>>>;
  /**
   * Removes what a cancelled or failed submission has left in the store, such as an edit. Called once with a
   * time of its own. The caller only logs an error.
   */
  cleanUp(context: StepContext<Options>, data: StepData): Promise<void>;
}

/** Requests that one invocation makes at most, with those to R2. The free plan allows 50. */
export const SUBREQUESTS_MAX = 30;

/** Why a submission fails when the time of a step is up. */
export const whyLate = ({ cancellable }: Pick<Step, 'cancellable'>): SubmissionReason =>
  cancellable ? 'store_unavailable' : 'processing_too_long';

/** The most chunks that one run of a step sends. */
export const CHUNKS_AT_ONCE = 4;
