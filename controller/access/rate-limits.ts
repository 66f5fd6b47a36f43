/**
 * Limits how often one caller may ask, by the platform's own counters (wrangler.toml). Each request asks one
 * counter once.
 *
 * A key or an attempt's token has a counter of its own, because many Macs share one address. An address is
 * counted for routes that need no key, and for unknown credentials. A counter that fails lets the request
 * pass, because it guards the bill and not the data.
 */
import type { Context } from 'hono';
import { RATE_PERIOD_S, type Refusal, refusal } from '../refusals.ts';

const LIMITED = refusal('rate_limited', `too many requests from one caller; ask again in ${RATE_PERIOD_S} s`);

/** Refuses a known caller that asks too often. `caller` is a key's id, or names an attempt's token. */
export const refuseHurry = (env: Env, caller: string): Promise<Refusal | null> => count(env.CALLERS, caller);

/** Refuses an unknown caller that asks too often, by its address. */
export const refuseHurryingStranger = <E extends { Bindings: Env }>(c: Context<E>): Promise<Refusal | null> =>
  count(c.env.STRANGERS, c.req.header('CF-Connecting-IP') ?? 'unknown');

async function count(counter: RateLimit, key: string): Promise<Refusal | null> {
  try {
    return (await counter.limit({ key })).success ? null : LIMITED;
  } catch (error) {
    console.error(JSON.stringify({ event: 'rate_limit_failed', error: String(error) }));
    return null;
  }
}
