/**
 * Asks a store, before its key is kept, whether it takes the key.
 *
 * Invariant: it takes at most {@link CHECK_MS}. A question without an answer by then becomes a warning.
 */
import type { Refusal } from '../refusals.ts';
import { checkAppStoreKey } from './app-store-check.ts';
import { checkPlayKey } from './play-check.ts';
import type { OpenedStoreKey, StoreAddresses } from './step.ts';
import { storeRefusal } from './store-refusal.ts';

/** All questions of one request together. Somebody waits for the answer. */
export const CHECK_MS = 10_000;

const CHECKS = { 'app-store-connect': checkAppStoreKey, 'google-play': checkPlayKey } as const;

/** Refused: `store_refused`. */
export async function checkStoreKey(
  key: OpenedStoreKey,
  addresses: StoreAddresses,
  signal: AbortSignal = AbortSignal.timeout(CHECK_MS),
): Promise<{ ok: true; warnings: string[] } | Refusal> {
  const { refusals, warnings } = await CHECKS[key.store](key, addresses, signal);
  const [refused] = refusals;
  return refused ? storeRefusal(refused) : { ok: true, warnings };
}
