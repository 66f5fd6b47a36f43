/**
 * Finds the pools that a request about a stored secret or a store key means, for the key that asks.
 *
 * Invariant: both are set only for trusted pools that exist and that the key reaches.
 */
import { and, asc, eq, inArray } from 'drizzle-orm';
import { POOLS_OF_SECRET_MAX } from '#contract';
import { openDatabase } from '../database.ts';
import { POOLS_LISTED } from '../projects/pools.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { pools } from '../schema/index.ts';
import { type Holder, may, type Right } from './rights.ts';

const KINDS = {
  secrets: { right: 'secrets.set', notForUntrusted: 'it receives no stored secrets' },
  'store keys': { right: 'admin', notForUntrusted: 'no store key is for its builds' },
} as const satisfies Record<string, { right: Right; notForUntrusted: string }>;
type Kind = keyof typeof KINDS;

/**
 * The named pools, or else the trusted ones that exist now and that the key reaches. Refused: `forbidden` for
 * a pool that the key does not reach, whether or not it exists; `invalid_request`.
 */
export async function poolsToSet(
  env: Env,
  key: Holder,
  projectId: string,
  named: readonly string[] | undefined,
  kind: Kind = 'secrets',
): Promise<{ ok: true; pools: string[] } | Refusal> {
  const foreign = named?.find((pool) => !may(key, KINDS[kind].right, { projectId, pool }));
  if (foreign !== undefined) return notReached(foreign, kind);
  const reached = named ?? (key.rights.pools === '*' ? undefined : key.rights.pools);
  const found = await openDatabase(env)
    .select()
    .from(pools)
    .where(and(reached && inArray(pools.name, [...reached]), named ? undefined : eq(pools.trusted, true)))
    .orderBy(asc(pools.name))
    .limit(POOLS_OF_SECRET_MAX + 1);
  const missing = named?.find((pool) => !found.some(({ name }) => name === pool));
  if (missing !== undefined) return refusal('invalid_request', `pools: there is no pool ${missing}; ${POOLS_LISTED}`);
  const untrusted = found.find(({ trusted }) => !trusted);
  if (untrusted)
    return refusal('invalid_request', `pools: ${untrusted.name} is not trusted, so ${KINDS[kind].notForUntrusted}`);
  if (found.length === 0)
    return refusal('invalid_request', 'pools: this key reaches no trusted pool; name a pool, or ask an admin');
  if (found.length > POOLS_OF_SECRET_MAX)
    return refusal(
      'invalid_request',
      `pools: this key reaches more than ${POOLS_OF_SECRET_MAX} trusted pools; name at most ${POOLS_OF_SECRET_MAX} at once`,
    );
  return { ok: true, pools: found.map(({ name }) => name) };
}

/** The named pool, or else all that the key reaches. Refused: `forbidden`. */
export function poolsToRemoveFrom(
  key: Holder,
  projectId: string,
  named: string | undefined,
): { ok: true; pools: '*' | readonly string[] } | Refusal {
  if (named === undefined) return { ok: true, pools: key.rights.pools };
  return may(key, 'secrets.set', { projectId, pool: named })
    ? { ok: true, pools: [named] }
    : notReached(named, 'secrets');
}

const notReached = (pool: string, kind: Kind): Refusal =>
  refusal('forbidden', `pools: this key may set no ${kind} for ${pool}`);
