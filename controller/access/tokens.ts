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
 * secrets/signing-keys.ts has the secrets, and says how they are rotated.
 */
import { z } from 'zod';
import { fromBase64Url, toBase64Url, toBytes } from '../bytes.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { findSigningSecret, hmacKey, newestSigningKey } from '../secrets/signing-keys.ts';

const TOKEN_KINDS = ['vm', 'run'] as const;
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

const TOKEN_MAX_CHARS = 1_024;
const PREFIX = { vm: 'tb_vm_', run: 'tb_run_' } as const satisfies Record<TokenKind, string>;

const Payload = z.tuple([z.string(), z.string(), z.number().int(), z.string(), z.number().int()]);

/** Whether the credential has the form of an attempt token. It may still be forged. */
export const isToken = (credential: string): boolean => kindOf(credential) !== undefined;

export async function signToken(env: Pick<Env, 'TOKEN_KEYS'>, claims: TokenClaims): Promise<string> {
  const { id: keyId, secret } = newestSigningKey(env);
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

/** Returns the claims of a token that is genuine and has not expired. Refused: `unauthorized`. */
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
  const secret = findSigningSecret(env, keyId);
  if (secret === undefined) return invalid;
  // subtle.verify compares in constant time.
  if (!(await crypto.subtle.verify('HMAC', await hmacKey(secret, 'verify'), mac, toBytes(text)))) return invalid;
  if (now >= expiryS * 1_000) return refusal('unauthorized', 'the attempt token has expired');
  return { kind, buildId, attempt, workerId, expiresAt: expiryS * 1_000 };
}

const kindOf = (credential: string) => TOKEN_KINDS.find((kind) => credential.startsWith(PREFIX[kind]));

function decode(text: string): z.infer<typeof Payload> | null {
  const bytes = fromBase64Url(text);
  if (!bytes) return null;
  try {
    return Payload.safeParse(JSON.parse(new TextDecoder().decode(bytes))).data ?? null;
  } catch {
    return null;
  }
}
