/**
 * How often one caller may ask: the platform's own counters (wrangler.toml), asked once for each request. A key or an attempt's
 * token has a counter of its own, because many Macs share one address; an address counts only for what needs no key, and for
 * credentials that are nobody's. A counter that cannot be asked lets the request pass: it guards the bill, not the data.
 */
import type { Context } from 'hono';
import { RATE_PERIOD_S, type Refusal, refusal } from '../refusals.ts';

const LIMITED = refusal('rate_limited', `too many requests; ask again in ${RATE_PERIOD_S} s`);

/** For whoever is known: a key's id, or an attempt's token. */
export const refuseHurry = (env: Env, caller: string): Promise<Refusal | null> => count(env.CALLERS, caller);

/** For whoever is not. */
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
