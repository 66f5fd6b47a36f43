/**
 * Notes a request as an HMAC, so that a repetition is known from another request of the same name.
 *
 * Invariant: the note tells nothing of the secrets in the request. A plain hash would, because a short secret
 * can be guessed and tried, and the note is kept as long as the build.
 *
 *   m1.<key id>.<base64url of the HMAC-SHA-256>
 *
 * The secret is one of TOKEN_KEYS (signing-keys.ts). The key id lets a note outlive a rotation, as long as
 * TOKEN_KEYS holds the old secret.
 */
import { fromBase64Url, toBase64Url, toBytes } from '../bytes.ts';
import { findSigningSecret, hmacKey, newestSigningKey } from './signing-keys.ts';

const VERSION = 'm1';

export async function macOfRequest(env: Pick<Env, 'TOKEN_KEYS'>, request: object): Promise<string> {
  const { id, secret } = newestSigningKey(env);
  const mac = await crypto.subtle.sign('HMAC', await hmacKey(secret, 'sign'), signedText(request));
  return `${VERSION}.${id}.${toBase64Url(new Uint8Array(mac))}`;
}

/** `unknown` if the secret of the note was removed from TOKEN_KEYS, so that nobody can compare any more. */
export async function compareWithMac(
  env: Pick<Env, 'TOKEN_KEYS'>,
  request: object,
  noted: string,
): Promise<'same' | 'other' | 'unknown'> {
  // The id of a key may contain a dot.
  const [, id, macText] = /^m1\.(.+)\.([^.]*)$/.exec(noted) ?? [];
  const secret = id === undefined ? undefined : findSigningSecret(env, id);
  const mac = fromBase64Url(macText ?? '');
  if (secret === undefined || !mac) return 'unknown';
  const same = await crypto.subtle.verify('HMAC', await hmacKey(secret, 'verify'), mac, signedText(request));
  return same ? 'same' : 'other';
}

/** The first words keep the HMAC from being one of a token, which begins with `tb_`. */
const signedText = (request: object) => toBytes(`tartbeat request: ${canonical(request)}`);

/**
 * The JSON of a value with sorted names, and without fields that are not given. So a request stays the same
 * with its fields in another order, and without a field that a later release adds. Pure.
 */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`);
  return `{${fields.join(',')}}`;
}
