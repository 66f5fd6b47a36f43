/**
 * Makes one HTTP call to a controller. No other module calls `fetch` for a controller's API.
 *
 * Invariant: each call ends within its time limit with an {@link Answer}. It rejects only with the reason of
 * the caller's signal.
 */
import type { z } from 'zod';
import { CONTRACT_HEADER, CONTRACT_VERSION } from '#contract';
import { type Answer, answerOf, unreachable, valueOrThrow } from './answer.ts';

/** The limits for commands. An agent has limits of its own. */
const REQUEST_MS = 30_000;
const TRANSFER_STALL_MS = 60_000;

interface ConnectionOptions {
  url: string;
  /** A key, or the token of an attempt. */
  key: string;
  /** How long one call may take. */
  requestMs?: number;
  /** The longest time without progress in a transfer. A transfer as a whole has no limit. */
  transferStallMs?: number;
  /** Ends each call that {@link Connection.call} makes. */
  signal?: AbortSignal | undefined;
}

export interface Call<T> {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  /** The schema of the answer. */
  answer: z.ZodType<T>;
  json?: unknown;
  bytes?: Uint8Array<ArrayBuffer>;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  /** Called with the status of an answer, such as 201 for a new build. */
  onStatus?: (status: number) => void;
}

/** One controller, and the key for it. */
export class Connection {
  readonly url: string;
  readonly requestMs: number;
  readonly transferStallMs: number;
  readonly #signal: AbortSignal | undefined;
  #key: string;
  #aheadMs = 0;

  constructor({ url, key, requestMs = REQUEST_MS, transferStallMs = TRANSFER_STALL_MS, signal }: ConnectionOptions) {
    this.url = url.replace(/\/+$/, '');
    this.#key = key;
    this.requestMs = requestMs;
    this.transferStallMs = transferStallMs;
    this.#signal = signal;
  }

  /** The same controller with another key, for example an attempt's token. */
  withKey(key: string): Connection {
    const { url, requestMs, transferStallMs } = this;
    return new Connection({ url, key, requestMs, transferStallMs, signal: this.#signal });
  }

  /** Uses a renewed key from the next request on. Connections made by `withKey` keep their own. */
  useKey(key: string): void {
    this.#key = key;
  }

  async call<T>({
    method,
    path,
    answer,
    json,
    bytes,
    timeoutMs = this.requestMs,
    signal,
    onStatus,
  }: Call<T>): Promise<Answer<T>> {
    const ended = AbortSignal.any([this.#signal, signal].filter((one) => one !== undefined));
    const limited = AbortSignal.any([AbortSignal.timeout(timeoutMs), ended]);
    const body = bytes ?? (json === undefined ? null : JSON.stringify(json));
    const type = bytes ? 'application/octet-stream' : 'application/json';
    try {
      const response = await this.open(method, path, limited, { body, headers: { 'content-type': type } });
      onStatus?.(response.status);
      return await answerOf(response, answer);
    } catch (error) {
      return unreachable(error, ended);
    }
  }

  /** As {@link call}, but throws an ApiError if there is no success. For commands. */
  async ask<T>(call: Call<T>): Promise<T> {
    return valueOrThrow(await this.call(call), `${call.method} ${this.url}${call.path}`);
  }

  /** Returns the bare response, for files and streams. Rejects if there is no response. */
  async open(
    method: string,
    path: string,
    signal: AbortSignal,
    init: { headers?: Record<string, string>; body?: unknown; duplex?: 'half' } = {},
  ): Promise<Response> {
    const response = await fetch(`${this.url}${path}`, {
      ...init,
      method,
      signal,
      // A captive portal redirects. If we followed, it would get the key.
      redirect: 'manual',
      headers: {
        accept: 'application/json',
        ...init.headers,
        authorization: `Bearer ${this.#key}`,
        [CONTRACT_HEADER]: String(CONTRACT_VERSION),
      },
    } as RequestInit);
    const theirs = Date.parse(response.headers.get('date') ?? '');
    if (Number.isFinite(theirs)) this.#aheadMs = theirs - Date.now();
    return response;
  }

  /** The time of the controller, by its last answer. The clock of this machine may be wrong. */
  now(): number {
    return Date.now() + this.#aheadMs;
  }
}
