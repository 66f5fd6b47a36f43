/** Makes private parts of store keys, and names addresses where no store answers. */
import type { StoreAddresses } from '../../../controller/stores/step.ts';

/** Nothing listens there, so each question fails at once as one that the store did not answer. */
export const NO_STORES: StoreAddresses = {
  appStoreConnect: 'http://127.0.0.1:9',
  googleToken: 'http://127.0.0.1:9/token',
  googlePlay: 'http://127.0.0.1:9',
  uploadHosts: { apple: ['127.0.0.1'], google: ['127.0.0.1'] },
  insecure: true,
};

const ALGORITHMS = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  'P-384': { name: 'ECDSA', namedCurve: 'P-384' },
  RS256: {
    ...{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
    ...{ modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
  },
} as const;

interface Pair {
  pem: string;
  publicPem: string;
}
/** All tests share one RSA key, because it takes long to find. */
let rsa: Promise<Pair> | undefined;

/** A private key as stores hand it out, and its public half. */
export const aPrivateKey = (algorithm: keyof typeof ALGORITHMS = 'ES256'): Promise<Pair> =>
  algorithm === 'RS256' ? (rsa ??= newPair(algorithm)) : newPair(algorithm);

async function newPair(algorithm: keyof typeof ALGORITHMS): Promise<Pair> {
  const pair = (await crypto.subtle.generateKey(ALGORITHMS[algorithm], true, ['sign', 'verify'])) as CryptoKeyPair;
  const pem = async (kind: 'pkcs8' | 'spki', label: string, key: CryptoKey) => {
    const base64 = new Uint8Array((await crypto.subtle.exportKey(kind, key)) as ArrayBuffer).toBase64();
    return `-----BEGIN ${label}-----\n${base64.match(/.{1,64}/g)!.join('\n')}\n-----END ${label}-----\n`;
  };
  return {
    pem: await pem('pkcs8', 'PRIVATE KEY', pair.privateKey),
    publicPem: await pem('spki', 'PUBLIC KEY', pair.publicKey),
  };
}

export const serviceAccount = (privateKey: string, fields: object = {}): string =>
  JSON.stringify({
    ...{ type: 'service_account', project_id: 'shop', private_key_id: 'f00d', private_key: privateKey },
    ...{ client_email: 'robot@shop.iam.gserviceaccount.com', token_uri: 'https://attacker.example/token' },
    ...fields,
  });

let pem: string | undefined;
/** A request that sets a key of App Store Connect. */
export const appStoreKey = async (pools: string[] | undefined, fields: object = {}) => ({
  ...{ store: 'app-store-connect', keyId: 'AB32CZE81F', issuerId: '57246542-96fe-1a63-e053-0824d011072a' },
  ...{ privateKey: (pem ??= (await aPrivateKey()).pem), apps: ['com.example.shop'], ...(pools && { pools }) },
  ...fields,
});
