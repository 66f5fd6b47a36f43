/**
 * Holds the steps of a store that a test writes, and notes what they were asked. The objects of the test's
 * entry run them in place of the real ones while `use` is set.
 */
import type { StepContext, StepData, StepResult, StoreAddresses, StoreSteps } from '../../../controller/stores/step.ts';

/**
 * The steps that run in place of those of both stores, and the addresses of the stores. Null: the real steps,
 * and no address.
 */
export const stepsOfTests: { use: StoreSteps<never> | null; addresses: StoreAddresses | null } = {
  use: null,
  addresses: null,
};

export interface Seen {
  step: string;
  uploadBeganAt: number | null;
  plain: StepData['plain'];
  secret: StepData['secret'];
  key: string;
  bytes: number;
}

type Run = (context: StepContext<never>, data: StepData) => Promise<StepResult> | StepResult;

/** A store of four steps: look, send (in chunks), commit, watch. A test replaces what it is about. */
export function tinyStore(runs: Partial<Record<'look' | 'send' | 'commit' | 'watch' | 'cleanUp', Run>> = {}) {
  const seen: Seen[] = [];
  const cleaned: StepData[] = [];
  const sent: string[] = [];
  let next = 'look';
  const CHUNK = 4;
  const usual: Record<'look' | 'send' | 'commit' | 'watch', Run> = {
    look: (_, data) => ({
      kind: 'next',
      step: 'send',
      data: { ...data, plain: { offset: 0 } },
      says: 'The number is free.',
    }),
    send: async ({ artifact, bytes }, { plain }) => {
      const offset = Number(plain.offset);
      const length = Math.min(CHUNK, artifact.size - offset);
      sent[offset / CHUNK] = await new Response(await bytes(offset, length)).text();
      const data = { plain: { offset: offset + length }, secret: { address: SESSION } };
      const isLast = offset + length === artifact.size;
      return { kind: 'next', step: isLast ? 'commit' : 'send', data, sentBytes: offset + length };
    },
    commit: (_, data) => ({ kind: 'next', step: 'watch', data }),
    watch: () => ({ kind: 'done', says: 'The store has processed it.', warnings: ['no groups'] }),
  };
  const stepOf = (name: keyof typeof usual, rest: Omit<StoreSteps<never>['steps'][string], 'run'>) => ({
    ...rest,
    run: async (context: StepContext<never>, data: StepData): Promise<StepResult> => {
      const { uploadBeganAt, key, artifact } = context;
      seen.push({ step: name, uploadBeganAt, key: key.privateKey, bytes: artifact.size, ...data });
      const result = await (runs[name] ?? usual[name])(context, data);
      next = result.kind === 'next' ? result.step : name;
      return result;
    },
  });
  const store: StoreSteps<never> = {
    first: 'look',
    steps: {
      look: stepOf('look', { state: 'waiting', limitMs: 60_000, cancellable: true }),
      send: stepOf('send', { state: 'uploading', limitMs: 60_000, cancellable: true }),
      commit: stepOf('commit', { state: 'uploading', limitMs: 60_000, cancellable: false }),
      watch: stepOf('watch', {
        state: 'processing',
        limitMs: 60_000,
        cancellable: false,
      }),
    },
    cleanUp: async (context, data) => {
      cleaned.push(data);
      await runs.cleanUp?.(context, data);
    },
  };
  stepsOfTests.use = store;
  return { seen, cleaned, sent, usual, steps: () => seen.map(({ step }) => step), next: () => next };
}

/** A secret address, to which anybody who has it could upload. It must be nowhere in clear. */
export const SESSION = 'https://upload.example.com/session-0123456789';
