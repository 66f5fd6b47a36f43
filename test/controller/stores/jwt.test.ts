import { expect, test } from 'vitest';
import { fromBase64Url, toBytes } from '../../../controller/bytes.ts';
import { type JwtAlgorithm, PrivateKeyUnreadable, signJwt } from '../../../controller/stores/jwt.ts';

const EC = { name: 'ECDSA', namedCurve: 'P-256' };
const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
};

async function madeKey(algorithm: typeof EC | typeof RSA) {
  const pair = (await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as CryptoKeyPair;
  const der = new Uint8Array((await crypto.subtle.exportKey('pkcs8', pair.privateKey)) as ArrayBuffer);
  const lines = der.toBase64().replaceAll(/(.{64})/g, '$1\n');
  return {
    publicKey: pair.publicKey,
    pem: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`,
  };
}

test.for([
  ['ES256', EC, { name: 'ECDSA', hash: 'SHA-256' }],
  ['RS256', RSA, { name: 'RSASSA-PKCS1-v1_5' }],
] as const)('%s: the public half verifies what the private one has signed', async ([algorithm, made, verifying]) => {
  const { pem, publicKey } = await madeKey(made);
  for (const text of [pem, pem.replaceAll('\n', '\r\n'), `\n${pem}  `]) {
    const parts = (await signJwt(algorithm, text, { kid: 'K1' }, { iss: 'é', exp: 7 })).split('.');
    expect(parts).toHaveLength(3);
    const [header, claims, signature] = parts.map((part) => fromBase64Url(part)!);
    const json = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes));
    expect(json(header!)).toEqual({ alg: algorithm, typ: 'JWT', kid: 'K1' });
    expect(json(claims!)).toEqual({ iss: 'é', exp: 7 });
    const signed = toBytes(`${parts[0]}.${parts[1]}`);
    expect(await crypto.subtle.verify(verifying, publicKey, signature!, signed)).toBe(true);
  }
});

test('what is no key of the algorithm is refused, without its text', async () => {
  const [ec, rsa] = [await madeKey(EC), await madeKey(RSA)];
  const damaged = ec.pem.replace(/(?<=-----\n).{20}/, 'A'.repeat(20));
  const texts: [JwtAlgorithm, string][] = [
    ['ES256', rsa.pem],
    ['RS256', ec.pem],
    ['ES256', damaged],
    ['ES256', ec.pem.replaceAll('PRIVATE', 'EC PRIVATE')],
    ['ES256', ec.pem.replace('-----END PRIVATE KEY-----', '')],
    ['ES256', ''],
  ];
  for (const [algorithm, text] of texts) {
    const error = await signJwt(algorithm, text, { kid: 'K1' }, {}).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PrivateKeyUnreadable);
    expect(String(error)).not.toContain(ec.pem.slice(40, 80));
  }
});
