/**
 * Who is asking: middleware that turns `Authorization: Bearer KEY` or `X-API-Key: KEY` into a variable, or answers 401 or
 * 403 itself. Invariant: a route's type says who is authenticated. Behind `KeyEnv` stands a key, behind `AttemptEnv` an
 * attempt's token or a worker's key; a handler that reads the wrong one does not compile.
 */
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { findBuild } from '../builds/rows.ts';
import { answerRefusal, type Refusal, refusal } from '../refusals.ts';
import { type AuthenticatedKey, findKey, mayUsePool, type Scope } from './keys.ts';
import { refuseHurry, refuseHurryingStranger } from './rate-limits.ts';
import { isToken, type TokenClaims, type TokenKind, verifyToken } from './tokens.ts';

export interface KeyEnv {
  Bindings: Env;
  Variables: { key: AuthenticatedKey };
}

/** A token speaks for one attempt. A worker's key says who asks: the route compares it with the attempt's own worker. */
export type AttemptCaller = Omit<TokenClaims, 'expiresAt'> | { kind: 'worker'; workerId: string };

export interface AttemptEnv {
  Bindings: Env;
  Variables: { caller: AttemptCaller };
}

/** An admin may do all that a submitter may; nobody but a worker acts as a worker. */
const MAY: Record<'admin' | 'submit' | 'worker', readonly Scope[]> = {
  admin: ['admin'],
  submit: ['submit', 'admin'],
  worker: ['worker'],
};

const requireKey = (allows: (key: AuthenticatedKey, c: Context) => boolean, whoMay: string) =>
  createMiddleware<KeyEnv>(async (c, next) => {
    const secret = credential(c);
    if (secret === null) return answerStranger(c, missing);
    if (isToken(secret))
      return answerStranger(c, refusal('unauthorized', `attempt tokens do not open this route, ${whoMay}`));
    const key = await findKey(c.env, secret, Date.now());
    if (!key) return answerStranger(c, unknownKey);
    const hurry = await refuseHurry(c.env, key.id);
    if (hurry) return answerRefusal(c, hurry);
    if (!allows(key, c)) return answerRefusal(c, refusal('forbidden', `the key's scope is ${key.scope}: ${whoMay}`));
    if (key.pools !== null && !(await isInPools(c, key))) return answerRefusal(c, noSuchBuild);
    c.set('key', key);
    return next();
  });

/**
 * Whether the build that the path names, if it names one, is of the key's pools. Asked of every route, so that one added later
 * is covered too. A build of another pool is answered as one that does not exist: its id must not tell that it does.
 */
async function isInPools(c: Context<KeyEnv>, key: AuthenticatedKey): Promise<boolean> {
  const [, encodedId] = /^\/api\/builds\/+([^/]*)/.exec(c.req.path) ?? [];
  if (encodedId === undefined) return true;
  const build = await findBuild(c.env, decodeId(encodedId));
  return build !== undefined && mayUsePool(key, build.pool);
}

function decodeId(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

export const requireScope = (scope: 'admin' | 'submit') =>
  requireKey((key) => MAY[scope].includes(key.scope), `this needs a key of scope ${MAY[scope].join(' or ')}`);

export const requireAnyKey = requireKey(() => true, 'this needs an API key');

/** The key of the worker that the path names as `:id`. */
export const requireThisWorker = requireKey(
  (key, c) => key.scope === 'worker' && key.workerId === c.req.param('id'),
  'this needs the key of the worker that the path names',
);

/** Submitters upload sources, workers artifacts. */
export const requireBlobWriter = requireKey(
  (key) => MAY.submit.includes(key.scope) || MAY.worker.includes(key.scope),
  'this needs a key of scope submit, admin or worker',
);

/** An admin, or the key that the path names as `:id`. */
export const requireAdminOrThisKey = requireKey(
  (key, c) => key.scope === 'admin' || key.id === c.req.param('id'),
  'this needs a key of scope admin, or the key itself',
);

/**
 * For routes below `/api/builds/:id`: a token of one of the kinds, for that build; or, with kind `worker`, any worker's key,
 * which the route must compare with the attempt's worker.
 */
export const requireAttempt = (...kinds: (TokenKind | 'worker')[]) =>
  createMiddleware<AttemptEnv>(async (c, next) => {
    const secret = credential(c);
    if (secret === null) return answerStranger(c, missing);
    if (!isToken(secret)) {
      const key = await findKey(c.env, secret, Date.now());
      if (!key) return answerStranger(c, unknownKey);
      const hurry = await refuseHurry(c.env, key.id);
      if (hurry) return answerRefusal(c, hurry);
      if (key.scope !== 'worker' || key.workerId === null || !kinds.includes('worker'))
        return answerRefusal(c, refusal('forbidden', `the key's scope is ${key.scope}: this needs ${needs(kinds)}`));
      c.set('caller', { kind: 'worker', workerId: key.workerId });
      return next();
    }
    const claims = await verifyToken(c.env, secret, Date.now());
    if ('ok' in claims) return answerStranger(c, claims);
    const { kind, buildId, attempt, workerId } = claims;
    const hurry = await refuseHurry(c.env, `${kind}:${buildId}:${attempt}`);
    if (hurry) return answerRefusal(c, hurry);
    if (!kinds.includes(kind)) return answerRefusal(c, refusal('forbidden', `this needs ${needs(kinds)}`));
    if (buildId !== c.req.param('id')) return answerRefusal(c, refusal('forbidden', 'the token is for another build'));
    c.set('caller', { kind, buildId, attempt, workerId });
    return next();
  });

/** For what needs no key: one address may ask so often. */
export const countStranger = createMiddleware<{ Bindings: Env }>(async (c, next) => {
  const hurry = await refuseHurryingStranger(c);
  return hurry ? answerRefusal(c, hurry) : next();
});

/** Guessing is refused sooner than answered. */
const answerStranger = async <E extends { Bindings: Env }>(c: Context<E>, refused: Refusal) =>
  answerRefusal(c, (await refuseHurryingStranger(c)) ?? refused);

const CREDENTIALS = {
  run: "the attempt's tb_run_ token",
  vm: "the attempt's tb_vm_ token",
  worker: "the key of the attempt's worker",
} as const;
const needs = (kinds: (TokenKind | 'worker')[]) => kinds.map((kind) => CREDENTIALS[kind]).join(' or ');

const missing = refusal('unauthorized', 'send a key or token as `Authorization: Bearer KEY` or `X-API-Key: KEY`');
const noSuchBuild = refusal('not_found', 'there is no such build');
const unknownKey = refusal('unauthorized', 'the key is unknown, revoked or expired');

function credential(c: Context): string | null {
  const bearer = /^Bearer +(\S+) *$/i.exec(c.req.header('Authorization') ?? '')?.[1];
  return bearer ?? (c.req.header('X-API-Key')?.trim() || null);
}
