/**
 * Reads the secret TOKEN_KEYS, `id:secret[,id:secret]`, with which the controller signs.
 *
 * The first secret signs, all of them verify. To rotate, put the new one first, and remove the old one when
 * its last token has expired: buildTimeout + 65 minutes after the last claim.
 */
import { toBytes } from '../bytes.ts';
import { SECRET_MIN_CHARS } from './sealing-keys.ts';

interface SigningKey {
  id: string;
  secret: string;
}

/** The key that signs now. */
export const newestSigningKey = (env: Pick<Env, 'TOKEN_KEYS'>): SigningKey => signingKeys(env)[0]!;

/** The secret with this id. Undefined if it was removed, or never existed. */
export const findSigningSecret = (env: Pick<Env, 'TOKEN_KEYS'>, id: string): string | undefined =>
  signingKeys(env).findLast((key) => key.id === id)?.secret;

/** @throws if TOKEN_KEYS is malformed; the message holds nothing of the secret */
function signingKeys(env: Pick<Env, 'TOKEN_KEYS'>): SigningKey[] {
  return (env.TOKEN_KEYS ?? '').split(',').map((text) => {
    const entry = text.trim();
    const colon = entry.indexOf(':');
    const secret = entry.slice(colon + 1);
    if (colon < 1 || secret.length < SECRET_MIN_CHARS)
      throw new Error(
        `the secret TOKEN_KEYS must be "id:secret" or "id:secret,id:secret", each secret at least ${SECRET_MIN_CHARS} characters`,
      );
    return { id: entry.slice(0, colon), secret };
  });
}

export const hmacKey = (secret: string, use: 'sign' | 'verify'): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', toBytes(secret), { name: 'HMAC', hash: 'SHA-256' }, false, [use]);
