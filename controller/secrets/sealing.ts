/**
 * Seals texts that must not be read in the database, and opens them again. No other module does.
 *
 * Invariant: a sealed text opens only where it was sealed. Its purpose, its row and all that names the row
 * are authenticated with it, so nobody can move it to another row or use it for another purpose.
 *
 *   v2.<key id>.<base64url of 12 random bytes and the AES-256-GCM output>
 *
 * sealing-keys.ts has the keys. upkeep/reseal.ts seals anew what older keys have sealed. The former release
 * knows one key alone, and opens what it or this release has sealed with that key.
 */
import { fromBase64Url, toBase64Url, toBytes } from '../bytes.ts';
import { newestSealingKey, openingKeys, type SealingEnv } from './sealing-keys.ts';

export interface Sealed {
  /** Names the key that sealed it. */
  keyId: string;
  sealed: string;
}

/** Where a text is sealed: its purpose, then all that names its row. */
export type Place = readonly [Purpose, ...(string | number | null)[]];
export type Purpose = 'build_inputs' | 'stored_secret' | 'store_key' | 'store_session';

export type Opened =
  | { ok: true; text: string }
  /** Putting the key back into INPUTS_KEY heals it. */
  | { ok: false; why: 'key missing'; keyId: string }
  /** It was sealed for another place, or altered. Without a key id its key may be missing too. */
  | { ok: false; why: 'does not open' }
  | { ok: false; why: 'unknown form' };

const VERSION = 'v2';
const IV_BYTES = 12;
const TAG_BYTES = 16;

export async function seal(env: SealingEnv, place: Place, text: string): Promise<Sealed> {
  const { id, key } = await newestSealingKey(env);
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const output = await crypto.subtle.encrypt(gcm(iv, boundTo(place, id)), key, toBytes(text));
  const joined = new Uint8Array(IV_BYTES + output.byteLength);
  joined.set(iv);
  joined.set(new Uint8Array(output), IV_BYTES);
  return { keyId: id, sealed: `${VERSION}.${id}.${toBase64Url(joined)}` };
}

export async function open(env: SealingEnv, place: Place, sealed: string): Promise<Opened> {
  const [version, ...rest] = sealed.split('.');
  const joined = fromBase64Url(rest.at(-1) ?? '');
  // An earlier release sealed the inputs of builds as `v1.<base64url>`, bound to the id of the build alone.
  const keyId = version === VERSION && rest.length === 2 ? rest[0]! : null;
  const isFirstForm = version === 'v1' && rest.length === 1 && place[0] === 'build_inputs';
  if (!joined || joined.length < IV_BYTES + TAG_BYTES || (keyId === null && !isFirstForm))
    return { ok: false, why: 'unknown form' };
  const keys = (await openingKeys(env)).filter(({ id }) => keyId === null || id === keyId);
  if (keys.length === 0 && keyId !== null) return { ok: false, why: 'key missing', keyId };
  for (const { key } of keys) {
    const text = await decrypt(key, joined, keyId === null ? String(place[1]) : boundTo(place, keyId));
    if (text !== null) return { ok: true, text };
  }
  return { ok: false, why: 'does not open' };
}

async function decrypt(key: CryptoKey, joined: Uint8Array<ArrayBuffer>, bound: string): Promise<string | null> {
  let plain: ArrayBuffer;
  try {
    plain = await crypto.subtle.decrypt(gcm(joined.subarray(0, IV_BYTES), bound), key, joined.subarray(IV_BYTES));
  } catch {
    return null;
  }
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(plain);
}

const gcm = (iv: Uint8Array<ArrayBuffer>, bound: string) => ({ name: 'AES-GCM', iv, additionalData: toBytes(bound) });

const boundTo = (place: Place, keyId: string): string => JSON.stringify([...place, keyId]);
