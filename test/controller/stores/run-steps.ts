/**
 * Runs the steps of a store as the Durable Object of a submission does, by the same rules
 * (submissions/upload-state.ts), but with a clock of its own and without D1.
 */
import type { SubmitOptions } from '#contract';
import type { StepContext, StepData, StoreSteps } from '../../../controller/stores/step.ts';
import {
  after,
  begunState,
  type Change,
  endsByOf,
  type Known,
  type UploadState,
} from '../../../controller/submissions/upload-state.ts';

export interface Ended {
  result: Pick<Change, 'says' | 'reason' | 'storeWords'> & { kind: Change['to'] };
  warnings: string[];
  /** The steps in their order, one for each invocation. */
  steps: string[];
  sentBytes: number;
  /** How often a part was read, by invocation. */
  parts: number[];
  /** How long it took by its own clock. */
  tookMs: number;
  /** All that was stored or shown, except sealed values. */
  seen: string;
  plain: StepData['plain'];
}

export interface Manner {
  /** Whether the process dies after this invocation, before its result is stored. */
  crash?: (invocation: number) => boolean;
  /** Called before each invocation. A submission that is cancelled is cleaned up. */
  before?: (step: string, now: number) => Promise<'cancel' | undefined>;
  /** When an earlier record, which was lost, had begun its upload. */
  uploadBeganAt?: number | null;
  /** The duration of an invocation. Left out: no time. */
  invocationMs?: number;
}

export class Cancelled extends Error {}

type Submitted<Options> = Omit<StepContext<Options>, 'now' | 'uploadBeganAt' | 'signal'>;

const INVOCATIONS_MAX = 500;

/** @throws {Cancelled} */
export async function runSteps<Options extends SubmitOptions>(
  store: StoreSteps<Options>,
  submitted: Submitted<Options>,
  { crash, before, uploadBeganAt = null, invocationMs = 0 }: Manner,
): Promise<Ended> {
  const createdAt = Date.now();
  const [steps, parts, seen]: [string[], number[], unknown[]] = [[], [], []];
  let now = createdAt;
  let state: UploadState = { ...begunState(store.first, now), uploadBeganAt };
  let secret: StepData['secret'] = {};
  const context = (): StepContext<Options> => ({
    ...submitted,
    ...{ now, uploadBeganAt: state.uploadBeganAt, signal: new AbortController().signal },
    bytes: (offset, length) => {
      parts[parts.length - 1]! += 1;
      return submitted.bytes(offset, length);
    },
  });
  const data = (): StepData => structuredClone({ plain: state.plain, secret });
  const cleanUp = () => store.cleanUp(context(), data()).catch(() => {});
  for (let invocation = 0; invocation < INVOCATIONS_MAX; invocation++) {
    const step = store.steps[state.step]!;
    now += invocationMs;
    if ((await before?.(state.step, now)) === 'cancel') {
      await cleanUp();
      throw new Cancelled();
    }
    if (step.state !== 'waiting') state.uploadBeganAt ??= now;
    if (step.state === 'processing') state.processingBeganAt ??= now;
    steps.push(state.step);
    parts.push(0);
    const outcome = await step.run(context(), data());
    if (crash?.(invocation)) continue;
    const known: Known = { ...{ rowState: step.state, createdAt, endsBy: endsByOf(createdAt) }, now };
    state = after(state, store as unknown as StoreSteps<never>, outcome, known);
    if ('data' in outcome) secret = outcome.data.secret;
    seen.push({ ...outcome, data: null }, state);
    const { ended, pending, warnings, sentBytes, plain } = state;
    if (ended && pending) {
      if (ended.cleanUp === 'due') await cleanUp();
      const { to: kind, says, reason, storeWords } = pending;
      const result = { kind, says, reason, storeWords };
      return { result, warnings, steps, sentBytes, parts, tookMs: now - createdAt, seen: JSON.stringify(seen), plain };
    }
    now = Math.max(now, state.alarmAt);
  }
  throw new Error(`the submission did not end: ${steps.join(' ')}`);
}
