/**
 * Signs JSON Web Tokens with the private part of a store key: ES256 for App Store Connect, RS256 for Google.
 *
 * Invariant: neither a key nor a token appears in what is thrown.
 */
import { toBase64Url, toBytes } from '../bytes.ts';

export type JwtAlgorithm = 'ES256' | 'RS256';

/** The text is no private key of the algorithm. The message is for the person who sets the key. */
export class PrivateKeyUnreadable extends Error {}

const ALGORITHMS = {
  ES256: {
    importing: { name: 'ECDSA', namedCurve: 'P-256' },
    signing: { name: 'ECDSA', hash: 'SHA-256' },
    called: 'an elliptic-curve key (P-256)',
  },
  RS256: {
    importing: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
    signing: { name: 'RSASSA-PKCS1-v1_5' },
    called: 'an RSA key',
  },
} as const;

const PEM = /^\s*-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----\s*$/;

/** @throws {PrivateKeyUnreadable} */
export async function importPrivateKey(algorithm: JwtAlgorithm, pem: string): Promise<CryptoKey> {
  const base64 = PEM.exec(pem)?.[1];
  if (base64 === undefined)
    throw new PrivateKeyUnreadable('must be the text of a private key, from -----BEGIN PRIVATE KEY----- to its END');
  const { importing, called } = ALGORITHMS[algorithm];
  try {
    const der = Uint8Array.fromBase64(base64.replaceAll(/\s/g, ''));
    return await crypto.subtle.importKey('pkcs8', der, importing, false, ['sign']);
  } catch {
    throw new PrivateKeyUnreadable(`must be ${called} in PKCS #8. The text is damaged, or of another kind`);
  }
}

/** @throws {PrivateKeyUnreadable} */
export async function signJwt(
  algorithm: JwtAlgorithm,
  privateKey: string,
  header: { kid: string },
  claims: Readonly<Record<string, unknown>>,
): Promise<string> {
  const key = await importPrivateKey(algorithm, privateKey);
  const part = (value: object) => toBase64Url(toBytes(JSON.stringify(value)));
  const signed = `${part({ alg: algorithm, typ: 'JWT', ...header })}.${part(claims)}`;
  // WebCrypto's ECDSA signature is r and s side by side, which is the form of a JWT.
  const signature = await crypto.subtle.sign(ALGORITHMS[algorithm].signing, key, toBytes(signed));
  return `${signed}.${toBase64Url(new Uint8Array(signature))}`;
}
