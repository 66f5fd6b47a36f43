/**
 * Finds out who is asking, from `Authorization: Bearer KEY` or `X-API-Key: KEY`. routes/authorise.ts decides
 * what the caller may do.
 *
 * Invariant: each request is counted once. A known caller is counted by its key or token, an unknown one by
 * its address.
 */
import type { Context } from 'hono';
import { type Refusal, refusal } from '../refusals.ts';
import { type AuthenticatedKey, findKey } from './keys.ts';
import { refuseHurry, refuseHurryingStranger } from './rate-limits.ts';
import { isToken, type TokenClaims, type TokenKind, verifyToken } from './tokens.ts';

/**
 * A token stands for one attempt. A worker's key names only the worker, so attempts/writers.ts compares that
 * with the attempt.
 */
export type AttemptCaller = Omit<TokenClaims, 'expiresAt'> | { kind: 'worker'; workerId: string };

export type AttemptCredential = TokenKind | 'worker';

/**
 * The key of the caller. `needs` says in words what the route needs. Refused: `unauthorized`, `rate_limited`.
 */
export async function findCallersKey<E extends { Bindings: Env }>(
  c: Context<E>,
  needs: string,
): Promise<{ ok: true; key: AuthenticatedKey } | Refusal> {
  const secret = credential(c);
  if (secret === null) return refuseStranger(c, missing);
  if (isToken(secret))
    return refuseStranger(
      c,
      refusal('unauthorized', `a token of an attempt does not open this route; it needs ${needs}`),
    );
  const key = await findKey(c.env, secret, Date.now());
  if (!key) return refuseStranger(c, unknownKey);
  return (await refuseHurry(c.env, key.id)) ?? { ok: true, key };
}

/**
 * The attempt's credential of the caller, for a route below `/api/builds/:id`: a token of that build, or the
 * key of any worker. `by` lists the kinds that the route takes. Refused: `unauthorized`, `rate_limited`,
 * `forbidden`.
 */
export async function findAttemptCaller<E extends { Bindings: Env }>(
  c: Context<E>,
  by: readonly AttemptCredential[],
  pathBuildId: string,
): Promise<{ ok: true; caller: AttemptCaller } | Refusal> {
  const secret = credential(c);
  if (secret === null) return refuseStranger(c, missing);
  if (!isToken(secret)) {
    const key = await findKey(c.env, secret, Date.now());
    if (!key) return refuseStranger(c, unknownKey);
    const hurry = await refuseHurry(c.env, key.id);
    if (hurry) return hurry;
    if (key.scope !== 'worker' || key.workerId === null || !by.includes('worker'))
      return refusal('forbidden', `the key has scope ${key.scope}; this needs ${inWords(by)}`);
    return { ok: true, caller: { kind: 'worker', workerId: key.workerId } };
  }
  const claims = await verifyToken(c.env, secret, Date.now());
  if ('ok' in claims) return refuseStranger(c, claims);
  const { kind, buildId, attempt, workerId } = claims;
  const hurry = await refuseHurry(c.env, `${kind}:${buildId}:${attempt}`);
  if (hurry) return hurry;
  if (!by.includes(kind)) return refusal('forbidden', `this needs ${inWords(by)}`);
  if (buildId !== pathBuildId) return refusal('forbidden', 'the token is for another build');
  return { ok: true, caller: { kind, buildId, attempt, workerId } };
}

/** An address that guesses too often gets `rate_limited` and learns nothing about its last guess. */
const refuseStranger = async <E extends { Bindings: Env }>(c: Context<E>, refused: Refusal): Promise<Refusal> =>
  (await refuseHurryingStranger(c)) ?? refused;

const CREDENTIALS: Record<AttemptCredential, string> = {
  run: "the attempt's tb_run_ token",
  vm: "the attempt's tb_vm_ token",
  worker: "the key of the attempt's worker",
};
const inWords = (by: readonly AttemptCredential[]) => by.map((kind) => CREDENTIALS[kind]).join(' or ');

const missing = refusal('unauthorized', 'send a key or token as `Authorization: Bearer KEY` or `X-API-Key: KEY`');
const unknownKey = refusal('unauthorized', 'the key is unknown, revoked or expired; ask an admin for a new one');

function credential<E extends { Bindings: Env }>(c: Context<E>): string | null {
  const bearer = /^Bearer +(\S+) *$/i.exec(c.req.header('Authorization') ?? '')?.[1];
  return bearer ?? (c.req.header('X-API-Key')?.trim() || null);
}
