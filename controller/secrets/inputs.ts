/**
 * Seals the private inputs of a build, and opens them again. Pure, but for the key.
 *
 * Invariant: inputs sealed for one build open for that build alone, because its id is authenticated with
 * them.
 *
 *   v2.<key id>.<base64url of 12 random bytes and the AES-256-GCM output>
 *
 * The key is the SHA-256 of the secret INPUTS_KEY, so that any text with enough entropy will do. The key id
 * is a fingerprint of the key. Inputs that were sealed under another INPUTS_KEY do not open: change it while
 * no build is queued or running.
 */
import { Inputs } from '#contract';
import { fromBase64Url, sha256, toBase64Url, toBytes } from '../bytes.ts';
import { type Refusal, refusal } from '../refusals.ts';

export interface SealedInputs {
  /** Names the key that sealed them. */
  keyId: string;
  sealed: string;
}

const IV_BYTES = 12;
const KEY_ID_BYTES = 8;
const SECRET_MIN_CHARS = 32;

export async function sealInputs(env: Pick<Env, 'INPUTS_KEY'>, buildId: string, inputs: Inputs): Promise<SealedInputs> {
  const { keyId, key } = await readKey(env);
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const plain = toBytes(JSON.stringify(inputs));
  const sealed = await crypto.subtle.encrypt(gcm(iv, boundTo(buildId, keyId)), key, plain);
  const joined = new Uint8Array(IV_BYTES + sealed.byteLength);
  joined.set(iv);
  joined.set(new Uint8Array(sealed), IV_BYTES);
  return { keyId, sealed: `v2.${keyId}.${toBase64Url(joined)}` };
}

/** Refused: `inputs_gone` if they were not sealed for this build, or not with the present key. */
export async function openInputs(
  env: Pick<Env, 'INPUTS_KEY'>,
  buildId: string,
  sealed: string,
): Promise<{ ok: true; inputs: Inputs } | Refusal> {
  const { keyId, key } = await readKey(env);
  const [version, ...rest] = sealed.split('.');
  const text = rest.at(-1);
  const joined = text === undefined ? null : fromBase64Url(text);
  const sealedBy = version === 'v2' && rest.length === 2 ? rest[0]! : null;
  // The former release sealed as `v1.<base64url>`, without a key id.
  if (!joined || (sealedBy === null && !(version === 'v1' && rest.length === 1)))
    return gone(buildId, 'they are stored in an unknown form');
  if (sealedBy !== null && sealedBy !== keyId) return gone(buildId, 'INPUTS_KEY was changed after they were sealed');
  const bound = sealedBy === null ? buildId : boundTo(buildId, sealedBy);
  let plain: ArrayBuffer;
  try {
    plain = await crypto.subtle.decrypt(gcm(joined.subarray(0, IV_BYTES), bound), key, joined.subarray(IV_BYTES));
  } catch {
    return gone(buildId, 'INPUTS_KEY was changed after they were sealed, or the row was altered');
  }
  return { ok: true, inputs: Inputs.parse(JSON.parse(new TextDecoder().decode(plain))) };
}

const gone = (buildId: string, why: string): Refusal =>
  refusal(
    'inputs_gone',
    `the environment and secret files of build ${buildId} cannot be opened: ${why}. Submit the build anew with them.`,
  );

const gcm = (iv: Uint8Array<ArrayBuffer>, bound: string) => ({
  name: 'AES-GCM',
  iv,
  additionalData: toBytes(bound),
});

/** Authenticated with the inputs, so that they open neither for another build nor for another purpose. */
const boundTo = (buildId: string, keyId: string) => JSON.stringify(['build_inputs', buildId, keyId]);

async function readKey(env: Pick<Env, 'INPUTS_KEY'>): Promise<{ keyId: string; key: CryptoKey }> {
  if ((env.INPUTS_KEY ?? '').length < SECRET_MIN_CHARS)
    throw new Error(
      `the secret INPUTS_KEY must have at least ${SECRET_MIN_CHARS} characters: \`openssl rand -hex 32\` makes one`,
    );
  const bytes = await sha256(toBytes(env.INPUTS_KEY));
  const fingerprint = await sha256(toBytes(`key id of ${bytes.toHex()}`));
  const key = await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']);
  return { keyId: fingerprint.subarray(0, KEY_ID_BYTES).toHex(), key };
}
