/** Defines the lines of `version`, `secrets` and `workers` under `--json`. */
import { z } from 'zod';
import { CounterSet, CounterView, SecretsRemoved, SecretView, Worker } from '#contract';

const project = z.string();

export const FARM_LINES = [
  /** The counter of build numbers of an app. The next build gets one more. */
  z.strictObject({ type: z.literal('counter'), project, counter: CounterView }),
  z.strictObject({ type: z.literal('counter_set'), project, counter: CounterSet }),
  /** A stored secret in one pool, as listed or as it was set. */
  z.strictObject({ type: z.literal('secret'), project, secret: SecretView }),
  z.strictObject({ type: z.literal('secret_removed'), project, secret: SecretsRemoved.shape.removed.element }),
  z.strictObject({ type: z.literal('worker'), worker: Worker }),
] as const;
