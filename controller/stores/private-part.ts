/**
 * Reads the private part of a store key from the request that sets it.
 *
 * Invariant: a refusal names the field and what it must be, and holds nothing of the text.
 */
import type { StoreKeyRequest } from '#contract';
import { type Refusal, refusal } from '../refusals.ts';
import { importPrivateKey, PrivateKeyUnreadable } from './jwt.ts';
import { parseServiceAccount } from './play-check.ts';
import type { OpenedStoreKey } from './step.ts';

/** `identity` is no secret: the key id, or the e-mail address of the service account. */
type PrivatePart = { ok: true; key: OpenedStoreKey; identity: string };

/** Refused: `invalid_request`. */
export async function readPrivatePart(request: StoreKeyRequest): Promise<PrivatePart | Refusal> {
  if (request.store === 'google-play') return parseServiceAccount(request.serviceAccount);
  const { store, keyId, issuerId = null, privateKey } = request;
  try {
    await importPrivateKey('ES256', privateKey);
  } catch (error) {
    if (!(error instanceof PrivateKeyUnreadable)) throw error;
    return refusal('invalid_request', `privateKey ${error.message}. Send the text of AuthKey_${keyId}.p8 as it is`);
  }
  return { ok: true, key: { store, keyId, issuerId, privateKey }, identity: keyId };
}
