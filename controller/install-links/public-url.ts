/**
 * Says at which address people reach this deployment: the variable PUBLIC_URL, and never the Host header,
 * which any caller may choose.
 */
import { type Refusal, refusal } from '../refusals.ts';

/** Only these hosts may have http. iOS installs from https alone, and http would show others the token. */
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);

/** The origin, without a slash at its end. Refused: `public_url_missing`, in words that say what to set. */
export function publicUrl(env: { PUBLIC_URL?: string }): { ok: true; origin: string } | Refusal {
  const given = env.PUBLIC_URL?.trim() ?? '';
  if (given === '')
    return missing('PUBLIC_URL is not set. Set it in wrangler.toml to the address at which people reach');
  const url = URL.parse(given);
  const isOrigin = url !== null && url.pathname === '/' && url.search + url.hash + url.username + url.password === '';
  if (!isOrigin)
    return missing('PUBLIC_URL is no address of a host alone, such as https://builds.example.com. Set it so for');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.has(url.hostname)))
    return missing('PUBLIC_URL does not begin with https://, which phones need. Set an https address of');
  return { ok: true, origin: url.origin };
}

const missing = (words: string): Refusal =>
  refusal('public_url_missing', `${words} this controller, then deploy it again (docs/install-links.md)`);
