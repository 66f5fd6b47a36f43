/**
 * Reads the secret INPUTS_KEY, with whose keys the controller seals: `id:secret[,id:secret]`, or one text
 * without an id.
 *
 * Invariant: a text that was one secret before still opens all that it sealed, also in a list, and even if it
 * reads like a list itself. So nothing is lost when somebody writes `2:NEW,1:OLD` in place of OLD.
 *
 * The first secret seals, all of them open. A key is the SHA-256 of its secret, so any text with enough
 * entropy will do. Its id is a fingerprint of the key: an id in the list tells people which secret is which,
 * and somebody may give the id of a former secret to another one.
 */
import { sha256, toBytes } from '../bytes.ts';

export type SealingEnv = Pick<Env, 'INPUTS_KEY'>;

interface SealingKey {
  id: string;
  key: CryptoKey;
}

/** A shorter secret could be guessed. `openssl rand -hex 32` gives 64 characters. */
export const SECRET_MIN_CHARS = 32;
const FINGERPRINT_BYTES = 8;
const ENTRY = /^[A-Za-z0-9_-]{1,32}:(.*)$/s;

/** The key that seals now. @throws if INPUTS_KEY is malformed; the message holds nothing of the secret */
export async function newestSealingKey(env: SealingEnv): Promise<SealingKey> {
  const { secrets, problem } = read(env.INPUTS_KEY ?? '');
  if (problem !== null) throw new Error(problem);
  return keyOf(secrets[0]!);
}

/** All keys that can open a sealed text. A malformed list gives those that can be read. */
export const openingKeys = (env: SealingEnv): Promise<SealingKey[]> => {
  const { secrets, whole } = read(env.INPUTS_KEY ?? '');
  return Promise.all([...new Set([...secrets, ...(whole === null ? [] : [whole])])].map(keyOf));
};

export const knownKeyIds = async (env: SealingEnv): Promise<string[]> => (await openingKeys(env)).map(({ id }) => id);

interface Read {
  /** From the newest on. */
  secrets: string[];
  /** The whole text, if it is long enough to have been one secret. */
  whole: string | null;
  /** Why nothing can be sealed. */
  problem: string | null;
}

/** A text that is no list, and is not meant as one, counts as one secret. Pure. */
function read(text: string): Read {
  const whole = text.length < SECRET_MIN_CHARS ? null : text;
  const parts = text.split(',').map((part) => ENTRY.exec(part.trim())?.[1] ?? null);
  const secrets = parts.filter((secret) => secret !== null && secret.length >= SECRET_MIN_CHARS) as string[];
  if (secrets.length === parts.length) return { secrets, whole, problem: null };
  if (whole === null) return { secrets, whole, problem: TOO_SHORT };
  // A typing error must not become a new secret, because its seals would not open once somebody corrects it.
  const isMeantAsList = parts.length > 1 && (secrets.length > 0 || !parts.includes(null));
  return isMeantAsList ? { secrets, whole, problem: MALFORMED } : { secrets: [text], whole, problem: null };
}

const TOO_SHORT = `the secret INPUTS_KEY must have at least ${SECRET_MIN_CHARS} characters: \`openssl rand -hex 32\` makes one`;
const MALFORMED =
  'the secret INPUTS_KEY must be one secret, or a list "id:secret,id:secret" of which each secret has at least ' +
  `${SECRET_MIN_CHARS} characters. One part of the list has no id, or too short a secret`;

async function keyOf(secret: string): Promise<SealingKey> {
  const bytes = await sha256(toBytes(secret));
  const fingerprint = await sha256(toBytes(`key id of ${bytes.toHex()}`));
  const key = await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']);
  return { id: fingerprint.subarray(0, FINGERPRINT_BYTES).toHex(), key };
}
