/**
 * Seals the private inputs of a build, and opens them again. Pure, but for the key.
 *
 * Invariant: inputs sealed for one build open for that build alone, because its id is authenticated with
 * them.
 *
 *   v1.<base64url of 12 random bytes and the AES-256-GCM output>
 *
 * The key is the SHA-256 of the secret INPUTS_KEY, so that any text with enough entropy will do. Inputs that
 * were sealed under another INPUTS_KEY do not open, so change it while no build is queued or running.
 */
import { Inputs } from '#contract';
import { fromBase64Url, sha256, toBase64Url, toBytes } from '../bytes.ts';

const VERSION = 'v1.';
const IV_BYTES = 12;
const SECRET_MIN_CHARS = 32;

export async function sealInputs(env: Pick<Env, 'INPUTS_KEY'>, buildId: string, inputs: Inputs): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const plain = toBytes(JSON.stringify(inputs));
  const sealed = await crypto.subtle.encrypt(gcm(iv, buildId), await aesKey(env, 'encrypt'), plain);
  const joined = new Uint8Array(IV_BYTES + sealed.byteLength);
  joined.set(iv);
  joined.set(new Uint8Array(sealed), IV_BYTES);
  return VERSION + toBase64Url(joined);
}

/** Throws if the inputs were not sealed for this build with this key. */
export async function openInputs(env: Pick<Env, 'INPUTS_KEY'>, buildId: string, sealed: string): Promise<Inputs> {
  const joined = sealed.startsWith(VERSION) ? fromBase64Url(sealed.slice(VERSION.length)) : null;
  if (!joined) throw new Error(`the inputs of build ${buildId} are not in a known form`);
  let plain: ArrayBuffer;
  try {
    const iv = joined.subarray(0, IV_BYTES);
    plain = await crypto.subtle.decrypt(gcm(iv, buildId), await aesKey(env, 'decrypt'), joined.subarray(IV_BYTES));
  } catch (cause) {
    throw new Error(`the inputs of build ${buildId} do not open: INPUTS_KEY was changed, or the row was altered`, {
      cause,
    });
  }
  return Inputs.parse(JSON.parse(new TextDecoder().decode(plain)));
}

const gcm = (iv: Uint8Array, buildId: string) => ({ name: 'AES-GCM', iv, additionalData: toBytes(buildId) });

async function aesKey(env: Pick<Env, 'INPUTS_KEY'>, use: 'encrypt' | 'decrypt'): Promise<CryptoKey> {
  if ((env.INPUTS_KEY ?? '').length < SECRET_MIN_CHARS)
    throw new Error(
      `the secret INPUTS_KEY must have at least ${SECRET_MIN_CHARS} characters: \`openssl rand -hex 32\` makes one`,
    );
  return crypto.subtle.importKey('raw', await sha256(toBytes(env.INPUTS_KEY)), 'AES-GCM', false, [use]);
}
