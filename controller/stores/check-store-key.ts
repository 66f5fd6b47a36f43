/**
 * Asks a store, before its key is kept, whether it takes the key.
 *
 * Invariant: it takes at most {@link CHECK_MS}. What a store does not answer by then is a warning.
 */
import { type Refusal, refusal } from '../refusals.ts';
import { checkPlayKey } from './play-check.ts';
import type { OpenedStoreKey, StoreAddresses } from './step.ts';
import type { StoreCheck } from './store-check.ts';

/** All questions of one request together. Somebody waits for the answer. */
export const CHECK_MS = 10_000;

type Check = (key: OpenedStoreKey, addresses: StoreAddresses, signal: AbortSignal) => Promise<StoreCheck>;

const CHECKS: Partial<Record<OpenedStoreKey['store'], Check>> = { 'google-play': checkPlayKey };

/** Refused: `store_refused`. */
export async function checkStoreKey(
  key: OpenedStoreKey,
  addresses: StoreAddresses,
): Promise<{ ok: true; warnings: string[] } | Refusal> {
  const check = CHECKS[key.store];
  if (!check) return { ok: true, warnings: [`${key.store} was not asked whether it takes the key.`] };
  const { refusals, warnings } = await check(key, addresses, AbortSignal.timeout(CHECK_MS));
  const [refused] = refusals;
  if (!refused) return { ok: true, warnings };
  return refusal(
    'store_refused',
    `the store does not take the key, so it is not kept. ${refused.storeWords ?? ''}`.trim(),
  );
}
