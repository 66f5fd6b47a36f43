/**
 * Uploads an app to App Store Connect, for TestFlight: the steps, their limits and their order.
 *
 *     find → look → create → reserve → chunks (again and again) → commit → watch → finish → groups → done
 *
 * Owns nothing: what a step leaves is stored by whoever runs it.
 */
import type { AppStoreSubmit } from '#contract';
import type { Plain } from './app-store/data.ts';
import { finish, groups, watch } from './app-store/processing.ts';
import { AppStoreRefused, reasonOf, resultOf } from './app-store/refusals.ts';
import { chunks, cleanUp, commit, create, find, look, reserve } from './app-store/upload.ts';
import type { Step, StepContext, StepData, StepResult, StoreSteps } from './step.ts';

type Context = StepContext<AppStoreSubmit>;
type Run = (context: Context, plain: Plain, secret: StepData['secret']) => Promise<StepResult>;

const MINUTES = 60_000;
const HOURS = 60 * MINUTES;

/** A key that was just made, or whose agreement was just signed, may be refused for a moment. */
const REFUSED_PAUSE_MS = 10_000;

const step = (state: Step['state'], limitMs: number, cancellable: boolean, run: Run): Step<AppStoreSubmit> => ({
  state,
  limitMs,
  cancellable,
  run: async (context, { plain, secret }) => {
    const { refused, ...rest } = plain;
    try {
      return await run(context, rest, secret);
    } catch (error) {
      if (error instanceof AppStoreRefused && saysNothing(plain, cancellable))
        return { kind: 'retry', why: error.message };
      if (error instanceof AppStoreRefused && reasonOf(error) === 'key_refused' && refused !== true)
        return { kind: 'wait', afterMs: REFUSED_PAUSE_MS, data: { plain: { ...plain, refused: true }, secret } };
      const result = resultOf(error);
      if (result === null) throw error;
      return result;
    }
  },
});

/**
 * Whether Apple may have the app. A refusal then does not tell whether the app got there, so only a state
 * that Apple names ends the submission. An admin can mend the key or the account meanwhile.
 */
const saysNothing = ({ committing }: Plain, cancellable: boolean): boolean => committing === true || !cancellable;

const FINISHING = 'what to test, and the look whether TestFlight waits for an answer about encryption';
const GROUPS = 'groups that were named';

export const appStore: StoreSteps<AppStoreSubmit> = {
  first: 'find',
  steps: {
    find: step('waiting', HOURS, true, find),
    look: step('waiting', HOURS, true, look),
    create: step('waiting', HOURS, true, create),
    reserve: step('waiting', HOURS, true, reserve),
    chunks: step('uploading', HOURS, true, chunks),
    commit: step('uploading', 24 * HOURS, false, commit),
    watch: step('processing', 24 * HOURS, false, watch),
    finish: { ...step('processing', HOURS, false, finish), isThere: { what: FINISHING, next: 'groups' } },
    groups: { ...step('processing', HOURS, false, groups), isThere: { what: GROUPS, next: null } },
  },
  cleanUp,
};
