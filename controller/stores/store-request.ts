/**
 * Makes every request to a store, checks the addresses that a store answers, and makes a store's words fit to
 * be shown.
 *
 * Invariants: no redirect is followed. No header and no token is logged, thrown or answered.
 */
import { STORE_WORDS_MAX } from '#contract';
import { countSubrequest } from '../subrequests.ts';

/** Most answers of a store are small. */
const ANSWER_MAX_BYTES = 256 * 1024;

const USUAL_LIMIT_MS = 30_000;

/** No answer came: the network, a time limit, a cut connection. Whether the store acted is unknown. */
export class StoreUnreachable extends Error {}

export interface StoreRequest {
  method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  url: string | URL;
  /** Of the step: it aborts when the step has used up its time. */
  signal: AbortSignal;
  /** Of this request, from its first byte to the last one of the answer. Left out: 30 s. */
  limitMs?: number;
  headers?: Readonly<Record<string, string>>;
  body?: string | FixedBody;
  /** A longer answer is read to here, and its JSON counts as absent. Left out: 256 KiB. */
  answerMaxBytes?: number;
}

/** Bytes that are streamed. `fetch` then says their length, as the stores demand. */
export interface FixedBody {
  stream: ReadableStream<Uint8Array>;
  length: number;
}

/** Any answer of the store. A redirect is an answer too, because we follow none. */
export interface StoreAnswer {
  status: number;
  headers: Headers;
  /** At most `answerMaxBytes`. */
  text: string;
  /** Undefined if the text is no whole JSON. */
  json: unknown;
}

/**
 * @throws {StoreUnreachable}
 * @throws TooManySubrequests before anything is sent
 */
export async function askStore(request: StoreRequest): Promise<StoreAnswer> {
  countSubrequest();
  // The timer is cleared below, because an object with a timer stays in memory and costs money.
  const late = new AbortController();
  const limit = setTimeout(() => late.abort(), request.limitMs ?? USUAL_LIMIT_MS);
  const signal = AbortSignal.any([request.signal, late.signal]);
  try {
    const answer = await send(request, signal);
    const { text, whole } = await boundedText(answer, request.answerMaxBytes ?? ANSWER_MAX_BYTES);
    return { status: answer.status, headers: answer.headers, text, json: whole ? parsed(text) : undefined };
  } catch {
    throw new StoreUnreachable(whyUnreachable(request, late.signal));
  } finally {
    clearTimeout(limit);
  }
}

async function send({ method, url, headers, body }: StoreRequest, signal: AbortSignal): Promise<Response> {
  const init = { method, redirect: 'manual', signal, ...(headers && { headers }) } as const;
  if (body === undefined || typeof body === 'string') return fetch(url, body === undefined ? init : { ...init, body });
  const { readable, writable } = new FixedLengthStream(body.length);
  const stopped = new AbortController();
  const piped = body.stream.pipeTo(writable, { signal: AbortSignal.any([signal, stopped.signal]) });
  // A store may answer before it has read all bytes. The error that broke the pipe breaks the request, too.
  piped.catch(() => {});
  try {
    return await fetch(url, { ...init, body: readable });
  } finally {
    stopped.abort();
  }
}

async function boundedText(answer: Response, maxBytes: number): Promise<{ text: string; whole: boolean }> {
  if (!answer.body) return { text: '', whole: true };
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (let left = maxBytes; ; ) {
    const { done, value } = await reader.read();
    if (done) return { text: text + decoder.decode(), whole: true };
    if (value.length > left) {
      await reader.cancel().catch(() => {});
      return { text: text + decoder.decode(value.subarray(0, left)), whole: false };
    }
    left -= value.length;
    text += decoder.decode(value, { stream: true });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The runtime's own message may name a whole upload address, which is secret. So we do not use it. */
function whyUnreachable({ method, url, signal }: StoreRequest, late: AbortSignal): string {
  const what = `${method} at ${new URL(url).host}`;
  if (late.aborted || signal.aborted) return `The store did not answer in time (${what}).`;
  return `The store could not be reached, or it cut the connection (${what}).`;
}

/** A store has named an address for bytes that is none of its own. The message shows its host alone. */
export class ForeignAddress extends Error {
  constructor(address: URL | null, hosts: readonly string[]) {
    const where = address ? `${address.protocol}//${address.host}` : 'an address that cannot be read';
    super(words(`The store names ${where} for the bytes. They go to ${hosts.join(', ')} alone, over https.`));
  }
}

/**
 * Checks an address that a store has answered for bytes of the artifact: its host is one of `hosts` or below
 * one.
 *
 * @throws {ForeignAddress}
 */
export function uploadAddress(url: string, hosts: readonly string[], insecure: boolean): URL {
  const address = URL.parse(url);
  if (!address) throw new ForeignAddress(null, hosts);
  const isSecure = address.protocol === 'https:' && address.port === '';
  const isNamed = address.username !== '' || address.password !== '';
  const isOurs = hosts.some((host) => address.hostname === host || address.hostname.endsWith(`.${host}`));
  if (isOurs && !isNamed && (isSecure || (insecure && address.protocol === 'http:'))) return address;
  throw new ForeignAddress(address, hosts);
}

/** Stands for a part that nobody may see. */
const LEFT_OUT = '…';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const looksLikeToken = (run: string): boolean =>
  !UUID.test(run) &&
  /\d/.test(run) &&
  /[a-z]/i.test(run) &&
  (!run.includes('/') || (/[a-z]/.test(run) && /[A-Z]/.test(run)));

/**
 * A store's own words, fit to be stored and shown: without tokens, keys and signed parts of addresses, on one
 * line, and bounded.
 */
export function words(text: string): string {
  const clean = text
    .replaceAll(/-----BEGIN [A-Z ]+-----[\s\S]*?(-----END [A-Z ]+-----|$)/g, LEFT_OUT)
    .replaceAll(/\bBearer\s+\S+/gi, `Bearer ${LEFT_OUT}`)
    .replaceAll(/\beyJ[\w-]+(\.[\w-]*)*/g, LEFT_OUT)
    .replaceAll(/\bya29\.[\w.-]+/g, LEFT_OUT)
    .replaceAll(/(\bhttps?:\/\/[^\s?#"'<>]+)[?#][^\s"'<>]*/gi, `$1?${LEFT_OUT}`)
    .replaceAll(/([\w.-]+=)[^\s&"'<>]{16,}/g, `$1${LEFT_OUT}`)
    .replaceAll(/[\w+/=-]{32,}/g, (run) => (looksLikeToken(run) ? LEFT_OUT : run))
    // biome-ignore lint/suspicious/noControlCharactersInRegex: this expression removes them.
    .replaceAll(/[\s\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
    .trim();
  return clean.length <= STORE_WORDS_MAX ? clean : `${clean.slice(0, STORE_WORDS_MAX - 1)}${LEFT_OUT}`;
}
