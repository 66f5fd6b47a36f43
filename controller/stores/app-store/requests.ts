/**
 * Makes each request to App Store Connect's REST API, with a token of its own.
 *
 * Invariants: a token is valid for ten minutes at most and goes to the API's own address alone. Of the
 * address of a next page only its cursor is used.
 */
import type { z } from 'zod';
import { PrivateKeyUnreadable, signJwt } from '../jwt.ts';
import type { OpenedStoreKey, StepContext, StoreAddresses } from '../step.ts';
import { askStore, type StoreAnswer, type StoreRequest, StoreUnreachable } from '../store-request.ts';
import { errorsOf } from './answers.ts';
import { AppStoreBusy, AppStoreRefused } from './refusals.ts';

/** The input of a request. The context of a step is one. */
export type AppStoreCaller = Pick<StepContext, 'key' | 'addresses' | 'signal'> & Pick<StoreRequest, 'answerMaxBytes'>;

export const callerOf = (key: OpenedStoreKey, addresses: StoreAddresses, signal: AbortSignal): AppStoreCaller => ({
  key,
  addresses,
  signal,
});

type Query = Readonly<Record<string, string | number>>;

/** A token lives ten minutes, one of which lies before now, because two clocks differ. */
const BEFORE_S = 60;
const AFTER_S = 540;

async function token({ key }: AppStoreCaller, scope: string | null): Promise<string> {
  if (key.store !== 'app-store-connect') throw new Error('the key is not for App Store Connect');
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    // An individual key has no issuer.
    ...(key.issuerId === null ? { sub: 'user' } : { iss: key.issuerId }),
    iat: now - BEFORE_S,
    exp: now + AFTER_S,
    aud: 'appstoreconnect-v1',
    ...(scope !== null && { scope: [scope] }),
  };
  try {
    return await signJwt('ES256', key.privateKey, { kid: key.keyId }, claims);
  } catch (error) {
    if (error instanceof PrivateKeyUnreadable)
      throw new AppStoreRefused(401, [{ code: '', text: `The private key ${error.message}.` }]);
    throw error;
  }
}

/**
 * Apple lets a token be limited to one GET request. If it refuses such a token, we ask once more with one
 * that is not limited, because the form of that limit is documented poorly.
 *
 * @throws {AppStoreRefused}
 * @throws {AppStoreBusy}
 * @throws {StoreUnreachable}
 */
export async function read<T>(caller: AppStoreCaller, path: string, query: Query, answer: z.ZodType<T>): Promise<T> {
  const url = addressOf(caller, path, query);
  const scope = `GET ${url.pathname}${decodeURIComponent(url.search)}`;
  if (isUnlimited(caller)) return understood(await ask(caller, 'GET', url, await token(caller, null)), answer);
  let said = await ask(caller, 'GET', url, await token(caller, scope));
  if (said.status === 401 || said.status === 403) {
    said = await ask(caller, 'GET', url, await token(caller, null));
    if (said.status < 300) rememberUnlimited(caller);
  }
  return understood(said, answer);
}

/** Until when we use unlimited tokens of a key, by its id. Lost with the isolate. */
const unlimited = new Map<string, number>();
const UNLIMITED_MAX = 100;
const UNLIMITED_MS = 10 * 60_000;

const idOf = ({ key }: AppStoreCaller): string => (key.store === 'app-store-connect' ? key.keyId : '');

const isUnlimited = (caller: AppStoreCaller): boolean => (unlimited.get(idOf(caller)) ?? 0) > Date.now();

function rememberUnlimited(caller: AppStoreCaller): void {
  const oldest = unlimited.keys().next();
  if (unlimited.size >= UNLIMITED_MAX && !oldest.done) unlimited.delete(oldest.value);
  unlimited.set(idOf(caller), Date.now() + UNLIMITED_MS);
}

/**
 * Reads a list, at most `pagesMax` pages, while `goesOn` is true for a page and all pages before it.
 *
 * Throws as {@link read}.
 */
export async function readAll<T>(
  caller: AppStoreCaller,
  path: string,
  query: Query,
  answer: z.ZodType<{ data: T[]; links?: { next?: string | null } | null }>,
  pagesMax: number,
  goesOn: (page: readonly T[], before: readonly T[]) => boolean = () => true,
): Promise<T[]> {
  const all: T[] = [];
  let page: Query = { ...query, limit: PAGE };
  for (let pages = 0; pages < pagesMax; pages++) {
    const { data, links } = await read(caller, path, page, answer);
    const isEnough = !goesOn(data, all);
    all.push(...data);
    const next = links?.next;
    const cursor = next && URL.canParse(next) ? new URL(next).searchParams.get('cursor') : null;
    if (!cursor || isEnough) break;
    page = { ...page, cursor };
  }
  return all;
}

/** Apple's largest page. */
const PAGE = 200;

/**
 * Asks for a change. A refused token is made anew once.
 *
 * Throws as {@link read}.
 */
export async function change<T>(
  caller: AppStoreCaller,
  method: 'POST' | 'PATCH' | 'DELETE',
  path: string,
  data: object | null,
  answer: z.ZodType<T>,
): Promise<T> {
  const url = addressOf(caller, path, {});
  const body = data === null ? undefined : JSON.stringify({ data });
  let said = await ask(caller, method, url, await token(caller, null), body);
  if (said.status === 401) said = await ask(caller, method, url, await token(caller, null), body);
  return understood(said, answer);
}

const addressOf = ({ addresses }: AppStoreCaller, path: string, query: Query): URL => {
  const url = new URL(path, addresses.appStoreConnect);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  // Only in a form does `+` mean a blank. The limit of a token has the blank itself.
  url.search = url.search.replaceAll('+', '%20');
  return url;
};

function ask(
  { signal, answerMaxBytes }: AppStoreCaller,
  method: Method,
  url: URL,
  bearer: string,
  body?: string,
): Promise<StoreAnswer> {
  const type = body === undefined ? undefined : { 'Content-Type': 'application/json' };
  const headers = { Authorization: `Bearer ${bearer}`, Accept: 'application/json', ...type };
  const sent = body === undefined ? undefined : { body };
  return askStore({ method, url, signal, headers, ...sent, ...(answerMaxBytes !== undefined && { answerMaxBytes }) });
}

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

function understood<T>(said: StoreAnswer, answer: z.ZodType<T>): T {
  if (said.status === 429 || said.status >= 500) throw new AppStoreBusy(said);
  if (said.status < 200 || (said.status >= 300 && said.status < 400))
    throw new StoreUnreachable(`App Store Connect answered ${said.status}, and redirects are not followed.`);
  if (said.status >= 400) throw new AppStoreRefused(said.status, errorsOf(said.json));
  const parsed = answer.safeParse(said.json);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues[0]?.path.join('.') || 'it';
  throw new StoreUnreachable(`The answer of App Store Connect has an unknown form: ${where}.`);
}
