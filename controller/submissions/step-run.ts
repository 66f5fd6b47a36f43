/**
 * Runs one step of a store: gives it its input and a time limit, and turns every error into a result.
 * Reads R2 below `blobs/`.
 */
import {
  ArtifactGone,
  type OpenedStoreKey,
  type Step,
  type StepContext,
  type StepData,
  type StoreAddresses,
  type StoreSteps,
} from '../stores/step.ts';
import { StoreUnreachable } from '../stores/store-request.ts';
import { countSubrequest } from '../subrequests.ts';
import { sealSecret } from './step-data.ts';
import type { Submitted } from './submitted.ts';
import type { Outcome, UploadState } from './upload-state.ts';

/** The time limit of one run of a step. An alarm has 15 minutes. */
const RUN_MAX_MS = 4 * 60_000;
/** Even a step whose time is up gets this much, because the store may have the app by now. */
const RUN_MIN_MS = 30_000;
/** After this time we stop waiting for a step that does not heed its signal. */
const UNHEEDED_MS = 5_000;
const CLEAN_UP_MS = 60_000;
/** The most bytes of a file that are read in one piece. */
const READ_MAX_BYTES = 256 * 1024 * 1024;

const NO_ANSWER = 'The store did not answer in time.';

/** The input of a step. */
interface Given {
  submitted: Submitted;
  state: UploadState;
  data: StepData;
  key: OpenedStoreKey;
  addresses: StoreAddresses;
}

interface StepRun extends Given {
  /** When the time of the step is up. */
  lateAt: number;
  /** Stops the step. It is aborted when the time of this run is up. */
  stop: AbortController;
}

/** Never throws. `secret` is the sealed part of the result's data, undefined if the result has no data. */
export async function runStep(
  env: Env,
  step: Step<never>,
  run: StepRun,
): Promise<{ outcome: Outcome; secret?: string | null }> {
  const { submitted, state, data, lateAt, stop } = run;
  const runMs = Math.min(RUN_MAX_MS, Math.max(RUN_MIN_MS, lateAt - Date.now()));
  const { id } = submitted.submission;
  try {
    const outcome = await within(runMs, stop, step.run(contextOf(env, run, stop.signal), data));
    if (!('data' in outcome)) return { outcome };
    return { outcome, secret: await sealSecret(env, id, outcome.data.secret) };
  } catch (error) {
    if (error instanceof ArtifactGone)
      return { outcome: { kind: 'failed', reason: 'artifact_gone', storeWords: null } };
    if (error instanceof StoreUnreachable) return { outcome: { kind: 'retry', why: error.message } };
    if (stop.signal.aborted) return { outcome: { kind: 'retry', why: NO_ANSWER } };
    console.error(JSON.stringify({ event: 'step_failed', submission: id, step: state.step, error: kindOf(error) }));
    return { outcome: { kind: 'fault', why: `The step ${state.step} failed: ${kindOf(error)}.` } };
  }
}

/** Removes all that the submission has left in the store. Throws if that takes too long. */
export async function cleanUpStore(env: Env, store: StoreSteps<never>, given: Given): Promise<void> {
  const stop = new AbortController();
  await within(CLEAN_UP_MS, stop, store.cleanUp(contextOf(env, given, stop.signal), given.data));
}

function contextOf(
  env: Env,
  { submitted, state: { uploadBeganAt }, key, addresses }: Given,
  signal: AbortSignal,
): StepContext<never> {
  const { submission, artifact, r2Key } = submitted;
  return {
    artifact: {
      ...{ name: submission.artifact, size: submission.size, sha256: submission.sha256 },
      kind: (artifact?.app?.kind ?? 'ipa') as 'ipa' | 'aab' | 'apk',
      app: {
        ...{ id: submission.appId, version: submission.version, buildNumber: submission.buildNumber },
        usesNonExemptEncryption: artifact?.app?.usesNonExemptEncryption ?? null,
      },
    },
    options: submission.options as never,
    key,
    addresses,
    now: Date.now(),
    uploadBeganAt,
    signal,
    bytes: async (offset, length) => {
      if (r2Key === null) throw new ArtifactGone();
      if (length > READ_MAX_BYTES) throw new RangeError(`${length} bytes at once`);
      countSubrequest();
      const object = await env.BLOBS.get(r2Key, { range: { offset, length } });
      if (!object) throw new ArtifactGone();
      return object.body;
    },
  };
}

/**
 * Stops `work` after `ms`. Throws if it is still running UNHEEDED_MS after that, or after another caller has
 * stopped it.
 */
async function within<T>(ms: number, stop: AbortController, work: Promise<T>): Promise<T> {
  const stopping = setTimeout(() => stop.abort(), ms);
  let leaving: ReturnType<typeof setTimeout> | null = null;
  const left = new Promise<never>((_, reject) => {
    stop.signal.addEventListener('abort', () => {
      leaving = setTimeout(() => reject(new Error('the work did not end in time')), UNHEEDED_MS);
    });
  });
  try {
    return await Promise.race([work, left]);
  } finally {
    clearTimeout(stopping);
    clearTimeout(leaving);
  }
}

/** The kind of an error, never its text: that may hold an address or a token. */
export const kindOf = (error: unknown): string => (error instanceof Error ? error.name : 'unknown error');
