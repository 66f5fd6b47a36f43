/**
 * Signs and verifies attempt tokens. An assignment carries them, so that beats and logs need no key and no
 * database.
 *
 * Invariant: a token is its claims and an HMAC over all of them, so one attempt's token never opens another's
 * route.
 *
 *   tb_run_<base64url of CLAIMS>.<base64url of the HMAC-SHA-256 over all before the dot>
 *   CLAIMS = ["keyId","build",attempt,"worker",expiry in s]
 *
 * The secret TOKEN_KEYS is `id:secret[,id:secret]`. The first secret signs, all of them verify. To rotate,
 * put the new one first, and remove the old one when its last token has expired: buildTimeout + 65 minutes
 * after the last claim.
 */
import { z } from 'zod';
import { fromBase64Url, toBase64Url, toBytes } from '../bytes.ts';
import { type Refusal, refusal } from '../refusals.ts';

export const TOKEN_KINDS = ['vm', 'run'] as const;
/**
 * `vm` is for the monitor's beats and is stored in the VM. `run` is for all else and stays with the agent.
 */
export type TokenKind = (typeof TOKEN_KINDS)[number];

export interface TokenClaims {
  kind: TokenKind;
  buildId: string;
  attempt: number;
  workerId: string;
  /** Milliseconds since 1970, rounded up to the second. */
  expiresAt: number;
}

/** A shorter secret could be guessed. `openssl rand -hex 32` gives 64 characters. */
const SECRET_MIN_CHARS = 32;
const TOKEN_MAX_CHARS = 1_024;
const PREFIX = { vm: 'tb_vm_', run: 'tb_run_' } as const satisfies Record<TokenKind, string>;

const Payload = z.tuple([z.string(), z.string(), z.number().int(), z.string(), z.number().int()]);

/** Whether the credential has the form of an attempt token. It may still be false. */
export const isToken = (credential: string): boolean => kindOf(credential) !== undefined;

export async function signToken(env: Pick<Env, 'TOKEN_KEYS'>, claims: TokenClaims): Promise<string> {
  const [keyId, secret] = [...signingKeys(env)][0]!;
  const payload: z.infer<typeof Payload> = [
    keyId,
    claims.buildId,
    claims.attempt,
    claims.workerId,
    Math.ceil(claims.expiresAt / 1_000),
  ];
  const text = PREFIX[claims.kind] + toBase64Url(toBytes(JSON.stringify(payload)));
  const mac = await crypto.subtle.sign('HMAC', await hmacKey(secret, 'sign'), toBytes(text));
  return `${text}.${toBase64Url(new Uint8Array(mac))}`;
}

/** Returns the claims of a token that is true and has not expired. Refused: `unauthorized`. */
export async function verifyToken(
  env: Pick<Env, 'TOKEN_KEYS'>,
  token: string,
  now: number,
): Promise<TokenClaims | Refusal> {
  const invalid = refusal('unauthorized', 'the attempt token is not valid');
  const kind = kindOf(token);
  const [text, macText, ...rest] = token.split('.');
  if (!kind || !text || !macText || rest.length > 0 || token.length > TOKEN_MAX_CHARS) return invalid;

  const payload = decode(text.slice(PREFIX[kind].length));
  const mac = fromBase64Url(macText);
  if (!payload || !mac) return invalid;
  const [keyId, buildId, attempt, workerId, expiryS] = payload;
  const secret = signingKeys(env).get(keyId);
  if (secret === undefined) return invalid;
  // subtle.verify compares in constant time.
  if (!(await crypto.subtle.verify('HMAC', await hmacKey(secret, 'verify'), mac, toBytes(text)))) return invalid;
  if (now >= expiryS * 1_000) return refusal('unauthorized', 'the attempt token has expired');
  return { kind, buildId, attempt, workerId, expiresAt: expiryS * 1_000 };
}

const kindOf = (credential: string) => TOKEN_KINDS.find((kind) => credential.startsWith(PREFIX[kind]));

/**
 * The secrets by id, in their order. Throws if TOKEN_KEYS is malformed; the message holds nothing of the
 * secret.
 */
function signingKeys(env: Pick<Env, 'TOKEN_KEYS'>): Map<string, string> {
  const entries = (env.TOKEN_KEYS ?? '').split(',').map((entry) => entry.trim());
  const found = new Map<string, string>();
  for (const entry of entries) {
    const colon = entry.indexOf(':');
    const secret = entry.slice(colon + 1);
    if (colon < 1 || secret.length < SECRET_MIN_CHARS)
      throw new Error(
        `the secret TOKEN_KEYS must be "id:secret" or "id:secret,id:secret", each secret at least ${SECRET_MIN_CHARS} characters`,
      );
    found.set(entry.slice(0, colon), secret);
  }
  return found;
}

const hmacKey = (secret: string, use: 'sign' | 'verify') =>
  crypto.subtle.importKey('raw', toBytes(secret), { name: 'HMAC', hash: 'SHA-256' }, false, [use]);

function decode(text: string): z.infer<typeof Payload> | null {
  const bytes = fromBase64Url(text);
  if (!bytes) return null;
  try {
    return Payload.safeParse(JSON.parse(new TextDecoder().decode(bytes))).data ?? null;
  } catch {
    return null;
  }
}
