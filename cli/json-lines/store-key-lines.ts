/** Defines the lines of `store-keys` under `--json`. */
import { z } from 'zod';
import { StoreKeyView } from '#contract';

const project = z.string();

export const STORE_KEY_LINES = [
  /** As listed. No line has any part of a private key. */
  z.strictObject({ type: z.literal('store_key'), project, storeKey: StoreKeyView }),
  /** As it was set. `warnings` names the questions that the store did not answer. */
  z.strictObject({
    type: z.literal('store_key_set'),
    project,
    storeKey: StoreKeyView,
    warnings: z.array(z.string()),
  }),
  z.strictObject({ type: z.literal('store_key_removed'), project, storeKey: StoreKeyView }),
] as const;
